package golden

import (
	"math"
	"testing"
)

// Tolerance is how far a value may be from the reference's.
type Tolerance struct {
	Relative float64 // times |want|
	OfMax    float64 // times the largest |want| of the array
}

// comparison is a computed array and the reference's.
type comparison struct {
	name      string
	got, want []float64
	rows      int // number of independent parts of the array, such as images
	tolerance Tolerance
}

// Comparisons collects the arrays that a test compares, for [Conditioned].
type Comparisons struct{ list []comparison }

// Add adds an array. rows is the number of its independent parts, such as images.
func Add[G, W Real](c *Comparisons, name string, rows int, got []G, want []W, tolerance Tolerance) {
	c.list = append(c.list, comparison{name, wide(got), wide(want), rows, tolerance})
}

func wide[T Real](values []T) []float64 {
	all := make([]float64, len(values))
	for i, v := range values {
		all[i] = float64(v)
	}
	return all
}

// nudgeSize is the relative perturbation of [Archive.Nudged]: two units in the last place
// of a float32, less than a network's own rounding errors.
const nudgeSize = 0x1p-22

// nudges is the number of different perturbations.
const nudges = 3

// slack is the tolerance of a value in units of its largest change by a perturbation.
const slack = 4

// Conditioned compares all arrays that compute adds. compute is called with nudge 0. If
// some values are off, it is called again with other nudges and must then compute from
// [Archive.Nudged]. A value may be off by a few times the change that the perturbation
// causes, because the reference's own rounding errors are that large. An example of such
// an ill-conditioned value is x_0 at t = T-1: a difference of numbers a thousand times its
// size.
func Conditioned(t testing.TB, compute func(c *Comparisons, nudge int)) {
	t.Helper()
	var first Comparisons
	var again [nudges]Comparisons
	compute(&first, 0)
	for _, c := range first.list {
		off, _ := c.off(nil)
		if len(c.got) != len(c.want) || off == 0 {
			c.check(t)
			continue
		}
		if again[0].list == nil {
			for i := range again {
				compute(&again[i], i+1)
			}
		}
		moved := c.moved(again[:])
		if stillOff, _ := c.off(moved); stillOff > 0 {
			c.check(t)
			t.Logf("%s: inputs and weights off by %g move it by at most %g", c.name, nudgeSize, largest(moved))
			continue
		}
		t.Logf("%s: %d of %d values are off, but within the reference's rounding errors: inputs and weights off by %g move it by %g",
			c.name, off, len(c.got), nudgeSize, largest(moved))
	}
}

// named returns the array computed under a name; a test may add arrays in any order.
func (c Comparisons) named(name string) []float64 {
	for _, x := range c.list {
		if x.name == name {
			return x.got
		}
	}
	return nil
}

// check fails the test unless every value is within the tolerance. It reports the largest deviation.
func (c comparison) check(t testing.TB) {
	t.Helper()
	if len(c.got) != len(c.want) {
		t.Errorf("%s: %d values, want %d", c.name, len(c.got), len(c.want))
		return
	}
	if n, worst := c.off(nil); n > 0 {
		t.Errorf("%s: %d of %d values are off, worst [%d] = %.17g, want %.17g (within %g of itself + %g of the largest, %g)",
			c.name, n, len(c.want), worst, c.got[worst], c.want[worst], c.tolerance.Relative, c.tolerance.OfMax, largest(c.want))
	}
}

// off counts the values that are off by more than the tolerance plus a few times the
// change of their row by perturbations (nil: none); a NaN is off. worst is the index of
// the largest deviation.
func (c comparison) off(moved []float64) (n, worst int) {
	most, furthest := largest(c.want), math.Inf(-1)
	for i := range min(len(c.got), len(c.want)) {
		want := c.want[i]
		excess := math.Abs(c.got[i]-want) - c.tolerance.Relative*math.Abs(want) - c.tolerance.OfMax*most
		if moved != nil {
			excess -= slack * moved[i*len(moved)/len(c.want)]
		}
		if excess <= 0 {
			continue
		}
		n++
		if math.IsNaN(excess) || excess > furthest {
			worst, furthest = i, excess
		}
	}
	return n, worst
}

// moved returns for each row the largest difference of other values from the computed ones.
func (c comparison) moved(others []Comparisons) []float64 {
	most := make([]float64, max(1, c.rows))
	for _, other := range others {
		values := other.named(c.name)
		for i := range min(len(c.got), len(values)) {
			row := i * len(most) / len(c.got)
			most[row] = math.Max(most[row], math.Abs(c.got[i]-values[i]))
		}
	}
	return most
}

func largest(values []float64) float64 {
	most := 0.0
	for _, v := range values {
		most = math.Max(most, math.Abs(v))
	}
	return most
}
