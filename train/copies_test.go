package train

import (
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// TestCopiedWeights takes steps by copies of the weights and by casting them: the
// weights come out the same to the bit, where a step is skipped, too.
func TestCopiedWeights(t *testing.T) {
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
			copied, cast := stepped(t, c, true), stepped(t, c, false)
			for i, x := range copied {
				if !slices.Equal(x, cast[i]) {
					t.Errorf("parameter %d differs", i)
				}
			}
		})
	}
}

// stepped returns the parameters after four steps, of which the third meets a gradient
// that is not finite.
func stepped(t *testing.T, c Config, copies bool) (values [][]float64) {
	t.Helper()
	b, err := NewBench(c, gotorch.Device{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w := b.trainer.work
	if len(w.working) == 0 {
		t.Fatal("there are no copies")
	}
	if !copies {
		w.working = nil
		b.trainer.optimizer.SetWorkingWeights(nil)
	}
	bias := b.trainer.parameter("time_embed.2.bias")
	for step := range 4 {
		good := bias.Detach().Clone()
		if step == 2 {
			bias.Detach().FillI(math.Inf(1))
		}
		if _, err := b.Train(); err != nil {
			t.Fatal(err)
		}
		if step == 2 {
			bias.Detach().CopyI(good, false)
		}
	}
	for p, copied := range w.working {
		if !slices.Equal(copied.Float64s(), p.Tensor.CastTo(copied.Dtype()).Float64s()) {
			t.Errorf("the copy of %s is not what it has become", p.Name)
		}
	}
	for _, p := range b.trainer.network.Tensors() {
		values = append(values, p.Float64s())
	}
	return values
}
