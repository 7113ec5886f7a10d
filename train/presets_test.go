package train

import (
	"math"
	"strings"
	"testing"

	"iddpm/model"
)

// The sizes are those in the names of the paper's checkpoints, which are rounded.
func TestPresets(t *testing.T) {
	millions := map[string]float64{
		"emoji": 0, "emoji-gpu": 0, "cifar10": 50, "cifar10-vlb": 50, "imagenet64": 100, "imagenet64-vlb": 100,
		"imagenet64-cond": 270, "imagenet256-upsample": 280, "lsun-bedroom": 100,
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
		u, err := p.Config.Model.UNet()
		if err != nil {
			t.Fatal(err)
		}
		network, err := model.Plan(u)
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

func TestLookupPreset(t *testing.T) {
	p, err := LookupPreset("cifar10")
	if err != nil || p.Config.Model.Dropout != 0.3 || p.Config.Diffusion.Steps != 4000 {
		t.Errorf("cifar10: %+v, %v", p, err)
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
