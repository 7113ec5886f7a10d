package main

import (
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"
)

// TestRun compares the samples with those of the program, build/iddpm.
func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	var out strings.Builder
	samples, err := run(t.Context(), dir, &out)
	if err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Count(text, "loss") != 3 || !strings.Contains(text, "bits/dim") {
		t.Errorf("printed %q", text)
	}
	c := exec.Command("../../build/iddpm", "sample", dir, "--num-samples", "4", "--seed", "5", "--timestep-respacing", "10", "--device", "cpu", "-o", filepath.Join(dir, "out"))
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	arrays, err := npy.ReadNPZ(filepath.Join(dir, "out", "samples_4x8x8x3.npz"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(arrays["arr_0"].Data, samples.Pixels) {
		t.Error("iddpm sample generates other images")
	}
}

// TestNoImages: a set without images is an error, not a run.
func TestNoImages(t *testing.T) {
	if err := learn(t.Context(), filepath.Join(t.TempDir(), "run"), gradients(0), io.Discard); err == nil {
		t.Error("trained without images")
	}
}
