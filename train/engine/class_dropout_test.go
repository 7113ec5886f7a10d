package engine

import (
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// classDropout is tiny with classes.
func classDropout(p float64) Options {
	o := tiny()
	o.Model.ClassCond, o.Model.NumClasses, o.Model.ClassDropout = true, 3, p
	return o
}

// TestDropClasses: labels become the null class with the given probability, as a function of seed,
// step and index.
func TestDropClasses(t *testing.T) {
	o := classDropout(0.3)
	run(t, o, func(e *Engine) {
		labels := make([]int64, 4000)
		for i := range labels {
			labels[i] = int64(i % 3)
		}
		dropped := func() (all []int64) {
			gotorch.Scope(func() { all = e.dropClasses(labels) })
			return all
		}
		first, n := dropped(), 0
		for i, label := range first {
			if label == 3 {
				n++
			} else if label != labels[i] {
				t.Fatalf("label %d became %d", labels[i], label)
			}
		}
		if deviation := math.Sqrt(4000 * 0.3 * 0.7); math.Abs(float64(n)-1200) > 4*deviation {
			t.Errorf("%d of 4000 labels are dropped with probability 0.3", n)
		}
		if !slices.Equal(first, dropped()) {
			t.Error("the same step drops other labels")
		}
		e.step++
		if slices.Equal(first, dropped()) {
			t.Error("another step drops the same labels")
		}
	})
	run(t, classDropout(0), func(e *Engine) {
		if labels := []int64{0, 1, 2}; !slices.Equal(e.dropClasses(labels), labels) {
			t.Error("labels are dropped without class dropout")
		}
	})
}

// TestClassDropoutTrainsNullClass: the row of the null class changes in steps that drop a label,
// and only in them.
func TestClassDropoutTrainsNullClass(t *testing.T) {
	for p, changes := range map[float64]bool{0.9: true, 1e-12: false} {
		run(t, classDropout(p), func(e *Engine) {
			gotorch.Scope(func() {
				row := func() []float64 { return parameter(e, "label_emb.weight").Select(0, 3).Float64s() }
				before := row()
				for range 4 { // until the third step the embedding is behind layers of zeros
					r, err := e.Step(images(e.options))
					if err != nil {
						t.Fatal(err)
					}
					r.Free()
				}
				if slices.Equal(before, row()) == changes {
					t.Errorf("class dropout %g: the null class's embedding changes: %t", p, !changes)
				}
			})
		})
	}
}
