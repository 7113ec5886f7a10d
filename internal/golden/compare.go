package golden

import (
	"math"
	"testing"
)

// Real is a Go floating-point type.
type Real interface{ float32 | float64 }

// WithinOfMax fails the test unless every |got - want| is at most tolerance
// times the largest |want|.
func WithinOfMax[G, W Real](t testing.TB, name string, got []G, want []W, tolerance float64) {
	t.Helper()
	WithinNorms(t, name, got, want, 0, tolerance)
}

// WithinRelative fails the test unless every |got - want| is at most tolerance
// times its own |want|.
func WithinRelative[G, W Real](t testing.TB, name string, got []G, want []W, tolerance float64) {
	t.Helper()
	WithinNorms(t, name, got, want, tolerance, 0)
}

// WithinNorms fails the test unless every |got - want| is at most relative
// |want| + ofMax max|want|. It reports the worst element.
func WithinNorms[G, W Real](t testing.TB, name string, got []G, want []W, relative, ofMax float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	largest := 0.0
	for _, w := range want {
		largest = math.Max(largest, math.Abs(float64(w)))
	}
	worst, excess, failed := 0, math.Inf(-1), 0
	for i, w := range want {
		e := math.Abs(float64(got[i])-float64(w)) - relative*math.Abs(float64(w)) - ofMax*largest
		if e <= 0 {
			continue
		}
		failed++
		if math.IsNaN(e) || e > excess {
			worst, excess = i, e
		}
	}
	if failed > 0 {
		t.Errorf("%s: %d of %d values are off, worst [%d] = %.17g, want %.17g (within %g of itself + %g of the largest, %g)",
			name, failed, len(want), worst, got[worst], want[worst], relative, ofMax, largest)
	}
}
