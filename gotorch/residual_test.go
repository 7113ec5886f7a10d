package gotorch

import (
	"fmt"
	"testing"
)

// TestResidualAdd compares the sum with its reference implementation, forward and backward.
func TestResidualAdd(t *testing.T) { checkResidualAdd(t, Device{}, Float, BFloat16) }

// checkResidualAdd tests numbers of channels that do and do not fill 16 bytes.
func checkResidualAdd(t *testing.T, d Device, dtypes ...DType) {
	tolerances := map[DType]float64{Float: 1e-6, BFloat16: 1e-2, Half: 2e-3}
	for _, shape := range [][]int64{{2, 32, 8, 8}, {1, 5, 3, 7}, {3, 12, 1, 1}} {
		for _, dtype := range dtypes {
			t.Run(fmt.Sprint(shape, dtype), func(t *testing.T) {
				Scope(func() {
					draw := func(stream uint32, dtype DType, shape ...int64) Tensor {
						x := PhiloxNormal(d, Float, PhiloxKey{Stream: stream}, shape...).CastTo(dtype)
						x.SetRequiresGrad(true)
						return x
					}
					leaves := []Tensor{draw(1, dtype, shape...), draw(2, dtype, shape...), draw(3, Float, shape[1])}
					y := ResidualAdd(leaves[0], leaves[1], leaves[2])
					gradient := draw(4, dtype, shape...)
					y.BackwardWith(gradient.Detach())
					exact := func(x Tensor) Tensor { return x.Detach().CastTo(Double) }
					want := []Tensor{
						exact(leaves[0]).Add(exact(leaves[1]), 1).Add(exact(leaves[2]).View(-1, 1, 1), 1),
						exact(gradient), exact(gradient), exact(gradient).SumDims(false, 0, 2, 3),
					}
					for i, got := range []Tensor{y, leaves[0].Grad(), leaves[1].Grad(), leaves[2].Grad()} {
						if far, largest := furthest(got.Float64s(), want[i].Float64s()); far > tolerances[dtype]*max(largest, 1) {
							t.Errorf("%s differs by %g of %g", []string{"y", "dinput", "dresidual", "dbias"}[i], far, largest)
						}
					}
				})
			})
		}
	}
}
