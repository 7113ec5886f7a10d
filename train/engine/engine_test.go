package engine

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
)

// tiny is an engine with steps of a few milliseconds.
func tiny() Options {
	return Options{
		Model: model.Config{
			ImageSize: 8, InChannels: 3, NumChannels: 32, NumResBlocks: 1, ChannelMult: []float64{1, 1}, NumHeads: 2,
			AttentionResolutions: []int{4}, LearnSigma: true, UseScaleShiftNorm: true,
		},
		Diffusion: diffusion.Config{Steps: 40, NoiseSchedule: "cosine", LearnSigma: true, RescaleTimesteps: true, RescaleLearnedSigmas: true},
		BatchSize: 4, EMARates: []float64{0.9}, Precision: "fp32", Seed: 3,
	}
}

// images returns a batch for an engine.
func images(o Options) Batch {
	b := Batch{Pixels: make([]byte, o.BatchSize*o.Model.ImageSize*o.Model.ImageSize*3)}
	for i := range b.Pixels {
		b.Pixels[i] = byte(i * 37)
	}
	if o.Model.ClassCond {
		b.Labels = make([]int64, o.BatchSize)
	}
	return b
}

// run calls f with a new engine on the tensor thread.
func run(t *testing.T, o Options, f func(e *Engine)) {
	t.Helper()
	gotorch.Run(func() {
		e, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		f(e)
	})
}

func parameter(e *Engine, name string) gotorch.Tensor {
	for _, p := range e.network.Parameters() {
		if p.Name == name {
			return p.Tensor.Detach()
		}
	}
	panic(name)
}

func parameters(e *Engine) (values [][]float64) {
	for _, p := range e.network.Tensors() {
		values = append(values, p.Float64s())
	}
	return values
}

// An engine continues from the state of another one, to the same bits.
func TestSetState(t *testing.T) {
	for _, precision := range []string{"fp32", "bf16"} {
		o := tiny()
		o.Precision, o.TimestepSampler = precision, "loss-second-moment"
		run(t, o, func(a *Engine) {
			run(t, o, func(b *Engine) {
				step := func(e *Engine) float64 {
					r, err := e.Step(images(o))
					if err != nil {
						t.Fatal(err)
					}
					defer r.Free()
					return r.Loss()
				}
				step(a)
				s := a.State()
				gotorch.NoGrad(func() { gotorch.ForeachCopyI(b.State().Weights, s.Weights) })
				gotorch.ForeachCopyI(b.State().EMA[0], s.EMA[0])
				if err := b.SetState(s); err != nil {
					t.Fatal(err)
				}
				if x, y := step(a), step(b); x != y || b.CurrentStep() != 2 {
					t.Errorf("%s: loss %v at step %d, want %v", precision, y, b.CurrentStep(), x)
				}
				if !slices.EqualFunc(parameters(a), parameters(b), slices.Equal[[]float64]) {
					t.Errorf("%s: the weights differ", precision)
				}
			})
		})
	}
}

// An abandoned step returns an error and changes no state.
func TestAbandon(t *testing.T) {
	run(t, tiny(), func(e *Engine) {
		before := parameters(e)
		e.WrapStep(func(work func()) {
			if !e.Abandon() {
				t.Error("cannot abandon the step")
			}
			work()
		})
		if _, err := e.Step(images(tiny())); !errors.Is(err, ErrAbandoned) || e.CurrentStep() != 0 {
			t.Errorf("error %v at step %d", err, e.CurrentStep())
		}
		if !slices.EqualFunc(before, parameters(e), slices.Equal[[]float64]) {
			t.Error("the weights have changed")
		}
	})
}

// In float16 the first step has the initial loss scale, and grows it.
func TestLossScaleOfSteps(t *testing.T) {
	o := tiny()
	o.Precision, o.LossScaleGrowth, o.BatchSize = "fp16", 1e-3, 2
	run(t, o, func(e *Engine) {
		if e.lossScale() != 1<<20 {
			t.Errorf("the loss scale begins with %g", e.lossScale())
		}
		r, err := e.Step(images(o))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Free()
		want := 20.001
		if r.Values().NonFinite {
			want = 19
		}
		e.Count(r) // counts once
		if got := e.Health().Log2LossScale; math.Abs(got-want) > 1e-9 {
			t.Errorf("log2 of the loss scale is %g after a step, want %g", got, want)
		}
	})
}

// The loss scale grows slowly, and is halved down to 1.
func TestLossScale(t *testing.T) {
	c := core{precision: Precisions["fp16"], health: InitialHealth()}
	count := func(nonFinite bool) { c.health.count(nonFinite, 1e-3) }
	count(false)
	if got := math.Log2(c.lossScale()); math.Abs(got-20.001) > 1e-9 {
		t.Errorf("after a finite step log2 of the loss scale is %g", got)
	}
	count(true)
	if got := math.Log2(c.lossScale()); math.Abs(got-19.001) > 1e-9 {
		t.Errorf("after a non-finite step log2 of the loss scale is %g", got)
	}
	for range 50 {
		count(true)
	}
	if got := c.lossScale(); got != 1 {
		t.Errorf("the loss scale falls to %g", got)
	}
}

// An engine says which process-wide settings its options ask for, and changes none.
func TestSettings(t *testing.T) {
	for _, deterministic := range []bool{false, true} {
		o, before := tiny(), gotorch.CurrentSettings()
		o.Deterministic = deterministic
		run(t, o, func(e *Engine) {
			if got, want := e.Settings(), (gotorch.Settings{Deterministic: deterministic, BenchmarkCUDNN: !deterministic}); got != want {
				t.Errorf("deterministic %v: the settings are %+v, not %+v", deterministic, got, want)
			}
			r, err := e.Step(images(o))
			if err != nil {
				t.Fatal(err)
			}
			r.Free()
		})
		if after := gotorch.CurrentSettings(); after != before {
			t.Errorf("deterministic %v: an engine has changed the settings from %+v to %+v", deterministic, before, after)
		}
	}
}
