package checkpoint

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/diffusers"
	"iddpm/internal/madeup"
	"iddpm/runconfig"
)

// TestImportedFromDiffusers reads a folder of diffusers with the configuration of the exported run,
// and without it.
func TestImportedFromDiffusers(t *testing.T) {
	config := madeup.Run()
	config.Train.LR, config.Diffusion.UseKL = 0.5, config.Model.LearnSigma
	c := &Checkpoint{Path: "p", Step: 7, Config: config, Model: tinyWeights(t), DataName: "images"}
	w, err := c.Weights("")
	if err != nil {
		t.Fatal(err)
	}
	metadata, err := c.Metadata(w)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	files, err := diffusers.Pipeline{Model: config.Model, Diffusion: config.Diffusion, Weights: c.Model, Metadata: metadata}.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "unet"), files[0]} {
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.Bare || got.Path != files[0] || got.Step != 7 || got.DataName != "images" || got.Config.Train.LR != 0.5 || got.Config.Diffusion.UseKL != config.Diffusion.UseKL || got.Config.Model.ImageSize != config.Model.ImageSize {
			t.Errorf("%s: read %+v", path, got)
		}
		if err := got.Check(""); err != nil {
			t.Error(err)
		}
	}
	f, err := safetensors.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	f.Metadata = nil // as diffusers saves it
	if err := safetensors.WriteFile(files[0], f); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil || got.Bare || got.Exported != RawWeights || got.DataName != "" || got.Config.Train.LR != runconfig.Defaults().Train.LR {
		t.Fatalf("without metadata: %+v, %v", got, err)
	}
	other := got.Config
	if err := got.CheckComputation(other); err != nil {
		t.Error(err)
	}
	other.Model.FreqShift = 1
	var differs *NetworkError
	if err := got.CheckComputation(other); !errors.As(err, &differs) || !strings.Contains(err.Error(), "freq_shift 0, not 1") {
		t.Errorf("another timestep embedding: %v", err)
	}
}
