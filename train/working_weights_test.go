package train

import (
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// Steps with working weights and steps that cast the master weights give the same weights to
// the bit, also if a step is skipped.
func TestWorkingWeightsMatchCasting(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"plain":                  func(*Config) {},
		"clipped gradients":      func(c *Config) { c.Train.GradClip = 1e-3 },
		"gradient checkpointing": func(c *Config) { c.Model.UseCheckpoint = true },
		"dropout and classes":    func(c *Config) { c.Model.Dropout, c.Model.ClassCond, c.Model.NumClasses = 0.2, true, 9 },
		"weight decay":           func(c *Config) { c.Train.WeightDecay = 0.1 },
		"microbatches":           func(c *Config) { c.Train.Microbatch = 1 },
		"uneven microbatches":    func(c *Config) { c.Train.BatchSize, c.Train.Microbatch, c.Model.UseCheckpoint = 3, 2, true },
		"gradient noise":         func(c *Config) { c.Train.BatchSize, c.Train.Microbatch, c.Train.GradientNoise = 4, 2, true },
	} {
		t.Run(name, func(t *testing.T) {
			c := tiny()
			c.Train.Precision = "bf16"
			change(&c)
			working, cast := stepped(t, c, true), stepped(t, c, false)
			for i, x := range working {
				if !slices.Equal(x, cast[i]) {
					t.Errorf("parameter %d differs", i)
				}
			}
		})
	}
}

// stepped returns the parameters after four steps, of which the third has a non-finite
// gradient.
func stepped(t *testing.T, c Config, workingWeights bool) (values [][]float64) {
	t.Helper()
	b, err := NewBench(c, gotorch.Device{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w := b.trainer.work
	if len(w.working) == 0 {
		t.Fatal("there are no working weights")
	}
	if !workingWeights {
		w.working = nil
		b.trainer.optimizer.SetWorkingWeights(nil)
	}
	bias := b.trainer.parameter("time_embed.2.bias")
	for step := range 4 {
		finite := bias.Detach().Clone()
		if step == 2 {
			bias.Detach().FillI(math.Inf(1))
		}
		if _, err := b.Train(); err != nil {
			t.Fatal(err)
		}
		if step == 2 {
			bias.Detach().CopyI(finite, false)
		}
	}
	for p, working := range w.working {
		if !slices.Equal(working.Float64s(), p.Tensor.CastTo(working.Dtype()).Float64s()) {
			t.Errorf("the working weights of %s differ from its cast master weights", p.Name)
		}
	}
	for _, p := range b.trainer.network.Tensors() {
		values = append(values, p.Float64s())
	}
	return values
}
