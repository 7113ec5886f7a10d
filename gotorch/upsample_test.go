package gotorch

import (
	"fmt"
	"testing"
)

// TestUpsampleWeight compares the transposed convolution with an up-sampling and
// a convolution, results and gradients, over odd shapes.
func TestUpsampleWeight(t *testing.T) {
	one, two, none := []int64{1}, []int64{2}, []int64{0}
	tolerances := map[int8]float64{Float: 1e-5, BFloat16: 2e-2}
	for _, s := range []struct{ n, in, out, h, w int64 }{{2, 32, 32, 8, 8}, {1, 3, 5, 7, 4}, {3, 17, 1, 1, 1}, {2, 1, 40, 5, 1}} {
		for dtype, tolerance := range tolerances {
			t.Run(fmt.Sprint(s, DtypeName(dtype)), func(t *testing.T) {
				Scope(func() {
					run := func(dtype int8, f func(x, w Tensor) Tensor) (values [3][]float64) {
						x := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 1}, s.n, s.in, s.h, s.w).CastTo(dtype)
						w := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 2}, s.out, s.in, 3, 3)
						if dtype == Double {
							w = w.CastTo(Double)
						}
						x.SetRequiresGrad(true)
						w.SetRequiresGrad(true)
						y := withGradient(x, f(x, w))
						return [3][]float64{y[0], y[1], w.Grad().Float64s()}
					}
					want := run(Double, func(x, w Tensor) Tensor {
						return Conv2d(UpsampleNearest2d(x, 2*s.h, 2*s.w), w, Tensor{}, one, one, one, 1)
					})
					got := run(dtype, func(x, w Tensor) Tensor {
						return ConvTranspose2d(x, UpsampleWeight(w, dtype), Tensor{}, two, one, none, 1, one)
					})
					for k, name := range []string{"y", "dx", "dw"} {
						if d, largest := furthest(got[k], want[k]); d > tolerance*largest {
							t.Errorf("%s differs by %g of %g", name, d, largest)
						}
					}
				})
			})
		}
	}
}
