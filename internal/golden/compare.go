package golden

import "testing"

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
	var c Comparisons
	Add(&c, name, 1, got, want, Tolerance{Relative: relative, OfMax: ofMax})
	c.list[0].check(t)
}
