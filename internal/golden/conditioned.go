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

// comparison is an array that a test has computed, beside the reference's.
type comparison struct {
	name      string
	got, want []float64
	rows      int // parts of the array that belong together, as one image's values
	tolerance Tolerance
}

// Comparisons are what a test compares, gathered for [Conditioned].
type Comparisons struct{ list []comparison }

// Add adds an array. rows is how many parts it has that know nothing of one another,
// such as images.
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

// nudgeSize is what [Archive.Nudged] moves values by, relatively: two units in the last
// place of a float32, less than a network's own rounding comes to.
const nudgeSize = 0x1p-22

// nudges is how often values are moved, each time another way.
const nudges = 3

// slack is by how many times what a nudge changes at most a value may be off.
const slack = 4

// Conditioned compares all that compute gathers. compute is called with nudge 0. If some
// values are off, it is called again with other nudges, and is then to compute from
// [Archive.Nudged]: a value may be off by a few times what that changes, for there the
// reference's own digits are chance. x_0 of a noise at t = T-1 is such a value: it is a
// difference of numbers a thousand times its size.
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
		t.Logf("%s: %d of %d values are off, but not further than the reference's rounding may have them: inputs and weights off by %g move it by %g",
			c.name, off, len(c.got), nudgeSize, largest(moved))
	}
}

// named returns what has been computed under a name; a test may compare in any order.
func (c Comparisons) named(name string) []float64 {
	for _, x := range c.list {
		if x.name == name {
			return x.got
		}
	}
	return nil
}

// check fails the test unless every value is within the tolerance. It reports the worst.
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

// off counts the values that are off by more than the tolerance and a few times what
// their row moves by, of which nil is none; a NaN is off. worst is the index of the one
// that is furthest off.
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

// moved returns for each row how far other values are from the computed ones, at most.
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
