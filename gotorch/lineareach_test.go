package gotorch

import "testing"

// TestLinearEach compares one matrix product with several, values and gradients, also
// if some results are unused.
func TestLinearEach(t *testing.T) { checkLinearEach(t, Device{}) }

func checkLinearEach(t *testing.T, d Device) {
	Scope(func() {
		leaf := func(stream uint32, shape ...int64) Tensor {
			x := PhiloxNormal(d, Float, PhiloxKey{Seed: 5, Stream: stream}, shape...)
			x.SetRequiresGrad(true)
			return x
		}
		x := leaf(0, 5, 12)
		leaves := []Tensor{x}
		var weights, biases []Tensor
		for i, rows := range []int64{7, 1, 16} {
			weights, biases = append(weights, leaf(uint32(10+i), rows, 12)), append(biases, leaf(uint32(20+i), rows))
		}
		leaves = append(append(leaves, weights...), biases...)
		outcome := func(each []Tensor, used int) []float64 {
			ZeroGrads(leaves)
			var all []Tensor
			for _, y := range each[:used] {
				all = append(all, y.Mul(y).Reshape(-1))
			}
			whole := Cat(all, 0)
			whole.Sum().Backward()
			values := whole.Float64s()
			for _, l := range leaves {
				g := l.Grad()
				if !g.Defined() {
					g = ZerosLike(l.Detach())
				}
				values = append(values, g.Float64s()...)
			}
			return values
		}
		var apart []Tensor
		for i := range weights {
			apart = append(apart, Linear(x, weights[i], biases[i]))
		}
		for used := 3; used > 0; used-- {
			want := outcome(apart[:used], used)
			got := outcome(LinearEach(x, weights, biases), used)
			if far, largest := furthest(got, want); far > 1e-5*largest {
				t.Errorf("with %d results used it differs by %g of %g", used, far, largest)
			}
			for i := range weights {
				apart[i] = Linear(x, weights[i], biases[i])
			}
		}
	})
}
