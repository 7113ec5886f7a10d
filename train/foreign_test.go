package train

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
)

// tinyWeights is a state_dict of the network of tiny.
func tinyWeights(t *testing.T) *pt.Dict {
	t.Helper()
	u, err := tiny().Model.UNet()
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
		c, err := LoadCheckpoint(path)
		if err != nil {
			t.Fatal(err)
		}
		c.Config = tiny()
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
	c := Checkpoint{Path: "p", Config: tiny(), Model: prefixed(tinyWeights(t), "odd_")}
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
	optimizer := dictOf("state", new(pt.Dict), "param_groups", []any{})
	for name, test := range map[string]struct {
		value *pt.Dict
		want  []string
	}{
		"model-and-ema.pt": {dictOf("model", w, "ema", w, "step", int64(100)), []string{`["model"] (`, `["ema"] (`, `weights_only=False)["ema"]`, "weights.pt"}},
		"state-dict.pt":    {dictOf("state_dict", w), []string{`["state_dict"] (`, `weights_only=False)["state_dict"]`}},
		"lightning.ckpt":   {dictOf("epoch", int64(3), "state_dict", prefixed(w, "model."), "optimizer_states", []any{optimizer}, "callbacks", new(pt.Dict)), []string{`["state_dict"] (`}},
		"lucidrains.pt": {dictOf("step", int64(5), "model", prefixed(w, "model."), "opt", optimizer, "ema", prefixed(w, "ema_model."), "scaler", nil),
			[]string{`["model"] (`, `["ema"] (`, `k.removeprefix("ema_model.")`, `k.startswith("ema_model.")`}},
		"nested.pt":      {dictOf("ema", dictOf("0.999", w), "step", int64(1)), []string{`["ema"]["0.999"] (`}},
		"with-step.pt":   {dictOf("a", &pt.Tensor{DType: pt.Float32, Shape: []int64{}, Data: make([]byte, 4)}, "step", int64(100)), []string{"step is not a tensor, unlike its other entries", "torch.is_tensor"}},
		"opt000010.pt":   {optimizer, []string{"an optimizer's state_dict", "model000010.pt"}},
		"my-opt.pt":      {optimizer, []string{"an optimizer's state_dict", "name the file of the weights"}},
		"settings.pt":    {dictOf("epoch", int64(3)), []string{"was written by another program", "holds no state_dict"}},
		"model000010.pt": {dictOf("model", w, "step", int64(1)), []string{`["model"] (`}},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := pt.WriteFile(path, test.value); err != nil {
			t.Fatal(err)
		}
		_, err := LoadCheckpoint(path)
		for _, want := range append(test.want, path) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v lacks %q", name, err, want)
			}
		}
	}
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
