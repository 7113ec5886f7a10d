package checkpoint

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/internal/madeup"
	"iddpm/model"
)

// tinyWeights is a state_dict of the network of tiny.
func tinyWeights(t *testing.T) *pt.Dict {
	t.Helper()
	u, err := madeup.Run().Model.UNet()
	if err != nil {
		t.Fatal(err)
	}
	var dict *pt.Dict
	gotorch.Run(func() {
		network, newErr := model.New(u, 1)
		if err = newErr; err == nil {
			dict = network.StateDict()
			network.Free()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return dict
}

func prefixed(dict *pt.Dict, prefix string) *pt.Dict {
	with := new(pt.Dict)
	for key, value := range dict.All() {
		with.Set(prefix+key.(string), value)
	}
	return with
}

// Wrappers of PyTorch and of trainers prefix every parameter's name.
func TestPrefixes(t *testing.T) {
	weights := tinyWeights(t)
	dir := t.TempDir()
	for _, prefix := range []string{"", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module.", "model.diffusion_model.", "ema_model."} {
		path := filepath.Join(dir, "w.pt")
		if err := pt.WriteFile(path, prefixed(weights, prefix)); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		c.Config = madeup.Run()
		if err := c.Check(""); err != nil || c.Prefix != prefix {
			t.Errorf("%q: stripped %q, %v", prefix, c.Prefix, err)
		}
	}
	two := prefixed(weights, "module.")
	two.Set("step", &pt.Tensor{DType: pt.Float32, Shape: []int64{}, Data: make([]byte, 4)})
	if _, prefix := model.StripPrefix(two); prefix != "" {
		t.Errorf("stripped %q, which not all names share", prefix)
	}
	part := new(pt.Dict)
	for key, value := range weights.All() {
		if strings.HasPrefix(key.(string), "input_blocks.0.") {
			part.Set(key, value)
		}
	}
	if _, prefix := model.StripPrefix(part); prefix != "" {
		t.Errorf("stripped %q of the network's own names", prefix)
	}
}

// The error counts the mismatches and lists only a few.
func TestMismatchesAreAbbreviated(t *testing.T) {
	c := Checkpoint{Path: "p", Config: madeup.Run(), Model: prefixed(tinyWeights(t), "odd_")}
	err := c.Check("")
	var unfit *model.StateDictError
	if !errors.As(err, &unfit) || len(unfit.Mismatches) != 2*c.Model.Len() {
		t.Fatalf("%v", err)
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines > 8 || !strings.Contains(err.Error(), "unknown: odd_") || !strings.Contains(err.Error(), " more") {
		t.Errorf("%d lines: %v", lines, err)
	}
}

// The error for a file of another trainer, or of an optimizer, says what it is and what to do.
func TestForeignCheckpoints(t *testing.T) {
	w := tinyWeights(t)
	other := dictOf("init_conv.weight", &pt.Tensor{DType: pt.Float32, Shape: []int64{1}, Data: make([]byte, 4)})
	optimizer := dictOf("state", new(pt.Dict), "param_groups", []any{})
	for name, test := range map[string]struct {
		value *pt.Dict
		want  []string
	}{
		"two-networks.pt": {dictOf("generator", w, "teacher", w, "step", int64(100)), []string{`["generator"] (`, `["teacher"] (`, `weights_only=False)["generator"]`, "weights.pt"}},
		"lucidrains.pt": {dictOf("step", int64(5), "model", other, "opt", optimizer, "ema", prefixed(other, "ema_model."), "scaler", nil),
			[]string{`["model"] (`, `["ema"] (`, `k.removeprefix("ema_model.")`, `k.startswith("ema_model.")`}},
		"with-step.pt": {dictOf("a", &pt.Tensor{DType: pt.Float32, Shape: []int64{}, Data: make([]byte, 4)}, "step", int64(100)), []string{"step is not a tensor, unlike its other entries", "torch.is_tensor"}},
		"opt000010.pt": {optimizer, []string{"an optimizer's state_dict", "model000010.pt"}},
		"my-opt.pt":    {optimizer, []string{"an optimizer's state_dict", "name the file of the weights"}},
		"settings.pt":  {dictOf("epoch", int64(3)), []string{"was written by another program", "holds no state_dict"}},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := pt.WriteFile(path, test.value); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		for _, want := range append(test.want, path) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v lacks %q", name, err, want)
			}
		}
	}
}

// TestWrappedNetworks sees through the dicts and modules of other trainers, and prefers EMA weights.
func TestWrappedNetworks(t *testing.T) {
	w, ema := tinyWeights(t), tinyWeights(t)
	ema.Set(firstParameter, &pt.Tensor{DType: pt.Float32, Shape: shapeOf(t, w, firstParameter), Data: make([]byte, 4*128*32)})
	scalar := &pt.Tensor{DType: pt.Float32, Shape: []int64{}, Data: make([]byte, 4)}
	optimizer := dictOf("state", new(pt.Dict), "param_groups", []any{})
	join := func(dicts ...*pt.Dict) *pt.Dict {
		all := dictOf("step", scalar)
		for _, d := range dicts {
			for key, value := range d.All() {
				all.Set(key, value)
			}
		}
		return all
	}
	for name, test := range map[string]struct {
		value    *pt.Dict
		averaged bool
		taken    string
		unused   int
	}{
		"model and ema":    {dictOf("model", w, "ema", ema, "step", int64(100)), true, `["ema"]`, 1},
		"state_dict":       {dictOf("state_dict", prefixed(w, "module.")), false, `["state_dict"], names that begin with "module."`, 0},
		"lightning":        {dictOf("epoch", int64(3), "state_dict", join(prefixed(w, "model."), dictOf("betas", scalar)), "optimizer_states", []any{optimizer}), false, `["state_dict"], names that begin with "model."`, 0},
		"lightning EMA":    {dictOf("state_dict", join(prefixed(w, "model._orig_mod."), prefixed(ema, "ema_model."))), true, `["state_dict"], names that begin with "ema_model."`, 1},
		"ema_pytorch":      {join(prefixed(w, "online_model."), prefixed(ema, "ema_model.")), true, `names that begin with "ema_model."`, 1},
		"rates":            {dictOf("ema", dictOf("0.99", w, "0.9999", ema, "0.999", w), "model", w), true, `["ema"]["0.9999"]`, 3},
		"with a step":      {dictOf("net", join(w)), false, `["net"]`, 0},
		"beside optimizer": {dictOf("optimizer", dictOf("state", w, "param_groups", []any{}), "unet", w), false, `["unet"]`, 0},
	} {
		c, err := parseCheckpoint("p", test.value)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := w
		if test.averaged {
			want = ema
		}
		got, err := c.Weights("")
		if err != nil || !c.Bare || c.Taken != test.taken || len(c.alsoHolds) != test.unused || got.Name != "of "+test.taken {
			t.Errorf("%s: took %q (%s), unused %q, %v", name, c.Taken, got.Name, c.alsoHolds, err)
		}
		if a, _ := got.Dict.Get(firstParameter); a != first(want) {
			t.Errorf("%s: other weights", name)
		}
		if raw, err := c.Weights(RawWeights); err != nil || name != "rates" && first(raw.Dict) != first(w) {
			t.Errorf("%s: other raw weights, %v", name, err)
		}
	}
}

func first(d *pt.Dict) any {
	value, _ := d.Get(firstParameter)
	return value
}

func shapeOf(t *testing.T, d *pt.Dict, name string) []int64 {
	t.Helper()
	value, ok := d.Get(name)
	if !ok {
		t.Fatalf("no %s", name)
	}
	return value.(*pt.Tensor).Shape
}

func TestResumePath(t *testing.T) {
	dir := t.TempDir()
	ema, raw := filepath.Join(dir, "ema_0.9999_000010.pt"), filepath.Join(dir, "model000010.pt")
	if got, err := ResumePath(ema); got != ema || err != nil {
		t.Errorf("no file: %s, %v", got, err)
	}
	if err := pt.WriteFile(ema, new(pt.Dict)); err != nil {
		t.Fatal(err)
	}
	if _, err := ResumePath(ema); err == nil || !strings.Contains(err.Error(), "model000010.pt") {
		t.Errorf("alone: %v", err)
	}
	if err := pt.WriteFile(raw, new(pt.Dict)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{ema: raw, raw: raw, dir: dir} {
		if got, err := ResumePath(path); got != want || err != nil {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
}
