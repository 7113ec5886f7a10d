package gotorch

import (
	"fmt"
	"testing"
)

// TestUpsampleConv2d compares the folded upsampling with upsampling and a convolution,
// results and gradients, for odd shapes.
func TestUpsampleConv2d(t *testing.T) {
	one := []int64{1}
	tolerances := map[DType]float64{Float: 1e-5, BFloat16: 2e-2}
	for _, s := range []struct{ n, in, out, h, w int64 }{{2, 32, 32, 8, 8}, {1, 3, 5, 7, 4}, {3, 17, 1, 1, 1}, {2, 1, 40, 5, 1}, {2, 32, 40, 9, 1}, {1, 33, 65, 2, 3}} {
		for dtype, tolerance := range tolerances {
			t.Run(fmt.Sprint(s, dtype), func(t *testing.T) {
				Scope(func() {
					run := func(dtype DType, f func(x, w, b Tensor) Tensor) (values [4][]float64) {
						x := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 1}, s.n, s.in, s.h, s.w).CastTo(dtype)
						w := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 2}, s.out, s.in, 3, 3)
						b := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 3}, s.out).CastTo(dtype)
						if dtype == Double {
							w = w.CastTo(Double)
						}
						for _, leaf := range []Tensor{x, w, b} {
							leaf.SetRequiresGrad(true)
						}
						y := withGradient(x, f(x, w, b))
						return [4][]float64{y[0], y[1], w.Grad().Float64s(), b.Grad().Float64s()}
					}
					want := run(Double, func(x, w, b Tensor) Tensor {
						return Conv2d(UpsampleNearest2d(x, 2*s.h, 2*s.w), w, b, one, one, one, 1)
					})
					got := run(dtype, func(x, w, b Tensor) Tensor {
						return UpsampleConv2d(x, UpsampleWeight(w, dtype), b)
					})
					for k, name := range []string{"y", "dx", "dw", "db"} {
						if d, largest := furthest(got[k], want[k]); d > tolerance*largest {
							t.Errorf("%s differs by %g of %g", name, d, largest)
						}
					}
				})
			})
		}
	}
}
