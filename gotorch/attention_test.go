package gotorch

import (
	"fmt"
	"math"
	"testing"
)

// composedAttention is the reference implementation of SelfAttention.
func composedAttention(qkv Tensor, heads int64) Tensor {
	shape := qkv.Shape()
	n, t, c := shape[0], shape[1], shape[2]/3
	parts := qkv.View(n, t, heads, 3, c/heads).Permute([]int64{3, 0, 2, 1, 4})
	y := ScaledDotProductAttention(parts.Select(0, 0), parts.Select(0, 1), parts.Select(0, 2))
	return y.Transpose(1, 2).Reshape(n, t, c)
}

// withGradient returns y, and the gradient of a weighted sum of y with respect
// to x.
func withGradient(x, y Tensor) [2][]float64 {
	y.BackwardWith(PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 2}, y.Shape()...).To(y.Device(), y.Dtype()))
	return [2][]float64{y.Float64s(), x.Grad().Float64s()}
}

// TestSelfAttention compares the kernel with libtorch's operators, forward and
// backward, for odd shapes and above the kernel's maximum number of tokens.
func TestSelfAttention(t *testing.T) {
	tolerances := map[DType]float64{Float: 1e-5, BFloat16: 2e-2}
	for _, s := range []struct{ n, t, heads, d int64 }{{2, 256, 4, 32}, {3, 16, 2, 8}, {1, 1, 1, 1}, {2, 35, 3, 5}, {1, 64, 1, 7}, {1, 255, 1, 7}, {1, 257, 2, 4}} {
		for dtype, tolerance := range tolerances {
			t.Run(fmt.Sprint(s, dtype), func(t *testing.T) {
				Scope(func() {
					qkv := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 1}, s.n, s.t, 3*s.heads*s.d).MulScalar(1.5).CastTo(dtype)
					exact := qkv.CastTo(Double)
					qkv.SetRequiresGrad(true)
					exact.SetRequiresGrad(true)
					want := withGradient(exact, composedAttention(exact, s.heads))
					got := withGradient(qkv, SelfAttention(qkv, s.heads))
					for k, name := range []string{"y", "dqkv"} {
						if d, largest := furthest(got[k], want[k]); d > tolerance*max(largest, 1) {
							t.Errorf("%s differs by %g of %g", name, d, largest)
						}
					}
				})
			})
		}
	}
}

// TestSelfAttentionExtremes gives scores whose exponentials overflow.
func TestSelfAttentionExtremes(t *testing.T) {
	Scope(func() {
		qkv := PhiloxNormal(Device{}, Float, PhiloxKey{}, 1, 9, 12).MulScalar(100)
		if d, largest := furthest(SelfAttention(qkv, 1).Float64s(), composedAttention(qkv, 1).Float64s()); d > 1e-5*largest {
			t.Errorf("large scores differ by %g of %g", d, largest)
		}
	})
}

// TestSelfAttentionKeepsNaN checks that a NaN in a query propagates to the output.
func TestSelfAttentionKeepsNaN(t *testing.T) {
	for _, dtype := range []DType{Float, BFloat16} {
		Scope(func() {
			qkv := PhiloxNormal(Device{}, Float, PhiloxKey{}, 1, 8, 12).CastTo(dtype)
			qkv.Narrow(1, 3, 1).Narrow(2, 0, 4).FillI(math.NaN())
			for i, v := range SelfAttention(qkv, 1).Float64s() {
				if bad := i/4 == 3; math.IsNaN(v) != bad {
					t.Errorf("%s: token %d is %v", dtype, i/4, v)
				}
			}
		})
	}
}
