package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/safetensors"
)

// TestSafetensorsWithoutFlags uses an exported file wherever a checkpoint is accepted.
func TestSafetensorsWithoutFlags(t *testing.T) {
	run := tinyRun(t)
	t.Chdir(t.TempDir())
	ok := func(args ...string) outcome {
		t.Helper()
		got := iddpm(t, args...)
		if got.status != exitDone {
			t.Fatalf("%v: %d, %s", args, got.status, got.stderr)
		}
		return got
	}
	pixels := func(args ...string) []byte {
		t.Helper()
		return sample(t, append(args, "--num-samples", "2", "--timestep-respacing", "2")...).pixels
	}
	ok("export", run, "-o", "w.safetensors")
	ok("export", "w.safetensors", "-o", "again.safetensors")
	first, err := os.ReadFile("w.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile("again.safetensors"); err != nil || !bytes.Equal(first, again) {
		t.Errorf("exported again, the file has %d bytes instead of %d: %v", len(again), len(first), err)
	}
	if f, err := safetensors.ReadFile("w.safetensors"); err != nil || !strings.Contains(f.Metadata["iddpm.config"], `"image_size":8`) {
		t.Errorf("the configuration is %v, %v", f.Metadata, err)
	}
	if !bytes.Equal(pixels(run), pixels("w.safetensors")) {
		t.Error("the file gives other samples than its run")
	}
	if text := ok("info", "w.safetensors").stdout; strings.Contains(text, "none in the file") || !strings.Contains(text, "image-size              8\n") {
		t.Errorf("info prints %s", text)
	}
	pixels(run, "--guide", "w.safetensors", "--guidance", "2")
	ok("nll", "w.safetensors", "--num-samples", "1", "--timestep-respacing", "2", "--device", "cpu", "-o", "nll")
	ok("figure", "schedule-compare", "w.safetensors", "-o", "schedule.png")
	ok(trainTiny("tuned", "--init-from", "w.safetensors", "--steps", "1")...)
	if got := iddpm(t, "resume", "w.safetensors", "--device", "cpu"); got.status != exitFailed || !strings.Contains(got.lastLine(), "holds weights but no training state") || !strings.Contains(got.lastLine(), "--init-from") {
		t.Errorf("resume: %d, %s", got.status, got.stderr)
	}
	if got := iddpm(t, "sample", "w.safetensors", "--ema", "0.123", "--device", "cpu"); got.status != exitFailed || !strings.Contains(got.lastLine(), "only the weights that were exported") {
		t.Errorf("other weights: %d, %s", got.status, got.stderr)
	}
	if err := os.WriteFile("cut.safetensors", first[:len(first)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"cut.safetensors", filepath.Join(run, "config.json")} {
		if got := iddpm(t, "sample", file, "--device", "cpu"); got.status != exitFailed || !strings.Contains(got.lastLine(), filepath.Base(file)) {
			t.Errorf("%s: %d, %s", file, got.status, got.stderr)
		}
	}
	if left, _ := filepath.Glob("runs/*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
