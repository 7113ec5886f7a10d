package engine

import (
	"math"
	"slices"
	"testing"
)

// Steps with working weights and steps that cast the master weights give the same weights to
// the bit, also if a step is skipped.
func TestWorkingWeightsMatchCasting(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"plain":                  func(*Options) {},
		"clipped gradients":      func(o *Options) { o.GradClip = 1e-3 },
		"gradient checkpointing": func(o *Options) { o.Model.UseCheckpoint = true },
		"dropout and classes":    func(o *Options) { o.Model.Dropout, o.Model.ClassCond, o.Model.NumClasses = 0.2, true, 9 },
		"weight decay":           func(o *Options) { o.WeightDecay = 0.1 },
		"microbatches":           func(o *Options) { o.Microbatch = 1 },
		"uneven microbatches":    func(o *Options) { o.BatchSize, o.Microbatch, o.Model.UseCheckpoint = 3, 2, true },
		"gradient noise":         func(o *Options) { o.BatchSize, o.Microbatch, o.GradientNoise = 4, 2, true },
	} {
		t.Run(name, func(t *testing.T) {
			o := tiny()
			o.Precision = "bf16"
			change(&o)
			working, cast := stepped(t, o, true), stepped(t, o, false)
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
func stepped(t *testing.T, o Options, workingWeights bool) (values [][]float64) {
	t.Helper()
	run(t, o, func(e *Engine) {
		if len(e.working) == 0 {
			t.Fatal("there are no working weights")
		}
		if !workingWeights {
			e.working = nil
			e.optimizer.SetWorkingWeights(nil)
		}
		bias := parameter(e, "time_embed.2.bias")
		for step := range 4 {
			finite := bias.Detach().Clone()
			if step == 2 {
				bias.Detach().FillI(math.Inf(1))
			}
			r, err := e.Step(images(o))
			if err != nil {
				t.Fatal(err)
			}
			r.Free()
			if step == 2 {
				bias.Detach().CopyI(finite, false)
			}
		}
		for p, working := range e.working {
			if !slices.Equal(working.Float64s(), p.Tensor.CastTo(working.Dtype()).Float64s()) {
				t.Errorf("the working weights of %s differ from its cast master weights", p.Name)
			}
		}
		values = parameters(e)
	})
	return values
}
