package engine

import (
	"errors"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// TestLargestMicrobatch checks the largest of nearly equal parts that fits.
func TestLargestMicrobatch(t *testing.T) {
	o := tiny()
	network, err := o.Model.Plan()
	if err != nil {
		t.Fatal(err)
	}
	room := func(n int) int64 {
		return int64(memoryMargin*float64(EstimateMemory(network, o, 50, n).Bytes())) + 1
	}
	for free, want := range map[int64]int{0: 1, room(25): 25, room(25) - 2: 17, room(17): 17, room(50): 50, 1 << 60: 50} {
		if got := LargestMicrobatch(network, o, 50, free); got != want {
			t.Errorf("%d free bytes: %d images, want %d", free, got, want)
		}
	}
	if got := LargestMicrobatch(network, o, 1, 0); got != 1 {
		t.Errorf("batch of one image: %d", got)
	}
}

// TestLowerMicrobatch runs steps that run out of memory with microbatches of more than two
// images: the weights equal those of microbatches of two, to the bit.
func TestLowerMicrobatch(t *testing.T) {
	for _, precision := range []string{"fp32", "bf16"} {
		o := tiny()
		o.BatchSize, o.Precision, o.Microbatch = 8, precision, 2
		want := afterMemoryRanOut(t, o)
		o.Microbatch, o.LowerMicrobatch = 0, true
		var lowered []int
		o.OnMicrobatchLowered = func(_, now int) { lowered = append(lowered, now) }
		got := afterMemoryRanOut(t, o)
		if !slices.Equal(lowered, []int{4, 2}) {
			t.Errorf("%s: the microbatch is lowered to %v", precision, lowered)
		}
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Fatalf("%s: parameter %d differs", precision, i)
			}
		}
	}
}

// afterMemoryRanOut returns the parameters after three steps on a device with memory for two
// images.
func afterMemoryRanOut(t *testing.T, o Options) (values [][]float64) {
	t.Helper()
	run(t, o, func(e *Engine) {
		limit(e, 2)
		for range 3 {
			r, err := e.Step(images(o))
			if err != nil {
				t.Fatal(err)
			}
			r.Free()
		}
		values = parameters(e)
	})
	return values
}

// limit makes steps with larger microbatches run out of memory, after their backward pass.
func limit(e *Engine, most int) {
	e.WrapStep(func(work func()) {
		if e.options.Microbatch > most {
			gotorch.Scope(func() { e.backwardAll(e.work.inputs(), new(stepOutputs)) })
			panic(&gotorch.Error{Op: "Empty", Message: "CUDA out of memory", OutOfMemory: true})
		}
		work()
	})
}

// Only an automatic microbatch is lowered, and never below one image. A step that has started
// to update the weights is not repeated.
func TestMicrobatchIsNotLowered(t *testing.T) {
	for name, c := range map[string]struct {
		lower bool
		most  int
		wrap  func(work func()) // nil: none
	}{
		"the user's": {false, 2, nil},
		"of one":     {true, 0, nil},
		"too late": {true, 8, func(work func()) {
			work()
			panic(&gotorch.Error{Op: "Empty", Message: "CUDA out of memory", OutOfMemory: true})
		}},
		"other error": {true, 8, func(func()) { panic(&gotorch.Error{Op: "x"}) }},
	} {
		t.Run(name, func(t *testing.T) {
			o := tiny()
			o.LowerMicrobatch = c.lower
			run(t, o, func(e *Engine) {
				limit(e, c.most)
				if c.wrap != nil {
					e.WrapStep(c.wrap)
				}
				_, err := e.Step(images(o))
				var refused *gotorch.Error
				if !errors.As(err, &refused) || e.CurrentStep() != 0 {
					t.Errorf("error %v, %d steps", err, e.CurrentStep())
				}
			})
		})
	}
}
