package golden

import "testing"

// TestConditioned compares values, one of which is a difference of large numbers.
func TestConditioned(t *testing.T) {
	inputs := []float32{1000.0001, 3}
	difference := func(x []float32) []float32 { return []float32{x[0] - 1000, x[1]} }
	for name, c := range map[string]struct {
		want     []float32
		nudgedBy float32 // further change of the second computation, in addition to the nudge
		fails    bool
	}{
		"equal":                         {want: difference(inputs)},
		"as far as rounding":            {want: []float32{difference(inputs)[0] + 2e-4, 3}},
		"further than rounding":         {want: []float32{difference(inputs)[0] + 2e-2, 3}, fails: true},
		"off where nothing moves":       {want: []float32{difference(inputs)[0], 3.01}, fails: true},
		"too few":                       {want: difference(inputs)[:1], fails: true},
		"what moves without the inputs": {want: []float32{difference(inputs)[0], 3.01}, nudgedBy: 0.01},
	} {
		r := &recorder{}
		r.run(func() {
			Conditioned(r, func(compared *Comparisons, nudge int) {
				x := Nudged(inputs, nudge)
				if nudge > 0 {
					x[1] += c.nudgedBy
				}
				Add(compared, "difference", 2, difference(x), c.want, Tolerance{OfMax: 1e-5})
			})
		})
		if (r.errors > 0) != c.fails {
			t.Errorf("%s: failed %v, want %v", name, r.errors > 0, c.fails)
		}
	}
}
