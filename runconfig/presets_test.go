package runconfig

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iddpm/diffusion"
)

// The sizes are those in the names of the paper's checkpoints, which are rounded.
func TestPresets(t *testing.T) {
	millions := map[string]float64{
		"emoji": 0, "emoji-gpu": 0, "cifar10": 50, "cifar10-vlb": 50, "imagenet64": 100, "imagenet64-vlb": 100,
		"imagenet64-cond": 270, "imagenet256-upsample": 280, "lsun-bedroom": 100,
		"adm-imagenet64": 296, "adm-imagenet128": 422, "adm-imagenet256": 554, "adm-imagenet256-uncond": 553, "adm-imagenet512": 559, "adm-lsun": 553,
		"adm-64-256-upsampler": 312, "adm-128-512-upsampler": 309,
	}
	for _, p := range Presets() {
		want, ok := millions[p.Name]
		if !ok {
			t.Errorf("%s: no size to compare with", p.Name)
		}
		delete(millions, p.Name)
		if err := p.Config.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		network, err := p.Config.Model.Plan()
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(network.NumParameters()) / 1e6; want > 0 && math.Abs(got/want-1) > 0.25 {
			t.Errorf("%s: %.1f million parameters, not about %.0f", p.Name, got, want)
		}
	}
	for name := range millions {
		t.Errorf("there is no preset %s", name)
	}
}

// TestADMPresets compares names, order and shapes of the parameters with guided-diffusion's
// named_parameters(), for the networks of its README.
func TestADMPresets(t *testing.T) {
	for name, want := range map[string]struct {
		list       string
		tensors    int
		parameters int64
	}{
		"adm-imagenet64":         {"adm-imagenet64", 541, 295_904_454},
		"adm-imagenet128":        {"adm-imagenet128", 493, 421_529_606},
		"adm-imagenet256":        {"adm-imagenet256", 567, 553_838_086},
		"adm-imagenet256-uncond": {"adm-imagenet256-uncond", 566, 552_814_086},
		"adm-imagenet512":        {"adm-imagenet512", 645, 558_997_638},
		"adm-lsun":               {"adm-imagenet256-uncond", 566, 552_814_086},
		"adm-64-256-upsampler":   {"adm-64-256-upsampler", 567, 311_795_910},
		"adm-128-512-upsampler":  {"adm-128-512-upsampler", 537, 308_835_270},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", "adm", want.list+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			preset, err := LookupPreset(name)
			if err != nil {
				t.Fatal(err)
			}
			network, err := preset.Config.Model.Plan()
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			if n := len(network.Parameters()); n != want.tensors || n != len(lines) || network.NumParameters() != want.parameters {
				t.Fatalf("%d tensors and %d parameters, want %d and %d", n, network.NumParameters(), want.tensors, want.parameters)
			}
			for i, p := range network.Parameters() {
				shape := strings.Trim(strings.ReplaceAll(fmt.Sprint(p.Shape), " ", "x"), "[]")
				if got := p.Name + " " + shape; got != lines[i] {
					t.Errorf("tensor %d is %s, want %s", i, got, lines[i])
				}
			}
		})
	}
}

func TestLookupPreset(t *testing.T) {
	p, err := LookupPreset("cifar10")
	if err != nil || p.Config.Model.Dropout != 0.3 || p.Config.Diffusion.Steps != 4000 {
		t.Errorf("cifar10: %+v, %v", p, err)
	}
	if emoji, _ := LookupPreset("emoji"); emoji.Config.Diffusion.MeanType() != diffusion.Velocity || p.Config.Diffusion.MeanType() != diffusion.Epsilon {
		t.Errorf("emoji predicts %q, cifar10 %q", emoji.Config.Diffusion.Predict, p.Config.Diffusion.Predict)
	}
	if _, err := LookupPreset("cifar"); err == nil || !strings.Contains(err.Error(), "cifar10, cifar10-vlb") {
		t.Errorf("cifar: %v", err)
	}
	a, b := Presets(), Presets()
	a[0].Config.Train.EMARates[0] = 0.5
	if b[0].Config.Train.EMARates[0] == 0.5 {
		t.Error("presets share memory")
	}
}
