package model

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/internal/golden"
)

// TestGoldenClassifier loads every classifier, strictly, and compares the order of its parameters,
// its logits, and the gradient of log p(y | x_t) with guided-diffusion's.
func TestGoldenClassifier(t *testing.T) {
	for _, file := range golden.Files(t, "classifier/*/config.json") {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			network, scale := goldenClassifier(t, dir)
			defer network.Free()
			golden.Conditioned(t, func(compared *golden.Comparisons, nudge int) {
				io := golden.Open(t, filepath.Join(dir, "io.npz")).Nudged(nudge)
				gotorch.Scope(func() { compareClassifier(compared, network, scale, io) })
			})
		})
	}
}

func goldenClassifier(t *testing.T, dir string) (network *Classifier, scale float64) {
	var c struct {
		Model EncoderConfig `json:"model"`
		Scale float64       `json:"classifier_scale"`
	}
	c.Model.NumHeads, c.Model.Pool = 1, PoolAdaptive // EncoderUNetModel's defaults
	var names []string
	for file, v := range map[string]any{"config.json": &c, "parameter_names.json": &names} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, v); err != nil {
			t.Fatal(err)
		}
	}
	network, err := NewClassifier(c.Model, 1)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range network.Parameters() {
		got = append(got, p.Name)
	}
	if !slices.Equal(got, names) {
		t.Errorf("parameters in the order %v, want %v", got, names)
	}
	dict, err := pt.ReadFile(filepath.Join(dir, "model.pt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := network.LoadStateDict(dict.(*pt.Dict)); err != nil {
		t.Fatal(err)
	}
	return network, c.Scale
}

func compareClassifier(compared *golden.Comparisons, network *Classifier, scale float64, io golden.Archive) {
	x := gotorch.FromFloat32s(io.Float32s("x_t"), io.Shape("x_t")...)
	x.SetRequiresGrad(true)
	logits := network.Forward(x, gotorch.FromInt64s(io.Int64s("t")), Input{})
	golden.Add(compared, "logits", int(x.Size(0)), logits.Float32s(), io.Float32s("logits"), golden.Tolerance{OfMax: 1e-4})
	losses := gotorch.NllLoss(logits.LogSoftmax(1), gotorch.FromInt64s(io.Int64s("y")))
	golden.Add(compared, "losses", int(x.Size(0)), losses.Float32s(), io.Float32s("losses"), golden.Tolerance{Relative: 1e-3})
	losses.Sum().Backward()
	gradient := x.Grad().MulScalar(-scale)
	golden.Add(compared, "cond_gradient", int(x.Size(0)), gradient.Float32s(), io.Float32s("cond_gradient"), golden.Tolerance{OfMax: 1e-3})
}
