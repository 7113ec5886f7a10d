package model

import (
	"math"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// TestDownsampleAsymmetric compares with the sums themselves: y[i, j] = sum w[k, l] x[2i+k, 2j+l], where x is 0
// beyond its end.
func TestDownsampleAsymmetric(t *testing.T) {
	gotorch.Run(func() {
		gotorch.Scope(func() {
			const side = 6
			x, w := make([]float32, side*side), make([]float32, 9)
			for i := range x {
				x[i] = float32(i%7) - 2
			}
			for i := range w {
				w[i] = float32(i+1) / 4
			}
			got := downsampleAsymmetric(gotorch.FromFloat32s(x, 1, 1, side, side), gotorch.FromFloat32s(w, 1, 1, 3, 3), gotorch.FromFloat32s([]float32{0.5}))
			values := got.Contiguous().Float32s()
			if len(values) != side*side/4 {
				t.Fatalf("%v", got.Shape())
			}
			for i := range side / 2 {
				for j := range side / 2 {
					want := float32(0.5)
					for k := range 3 {
						for l := range 3 {
							if 2*i+k < side && 2*j+l < side {
								want += w[3*k+l] * x[(2*i+k)*side+2*j+l]
							}
						}
					}
					if d := values[i*side/2+j] - want; math.Abs(float64(d)) > 1e-5 {
						t.Errorf("[%d, %d]: %g, want %g", i, j, values[i*side/2+j], want)
					}
				}
			}
		})
	})
}

// TestShiftedTimestepEmbedding: with shift 1 the last frequency is 1/10000.
func TestShiftedTimestepEmbedding(t *testing.T) {
	gotorch.Run(func() {
		gotorch.Scope(func() {
			const dim = 8
			got := TimestepEmbedding(gotorch.FromFloat32s([]float32{300}), dim, 1).Float32s()
			for k := range dim / 2 {
				angle := 300 / math.Pow(10000, float64(k)/(dim/2-1))
				if math.Abs(float64(got[k])-math.Cos(angle)) > 1e-4 || math.Abs(float64(got[k+dim/2])-math.Sin(angle)) > 1e-4 {
					t.Errorf("frequency %d: %g, %g, want those of %g", k, got[k], got[k+dim/2], angle)
				}
			}
		})
	})
}

// TestNormEps: a large epsilon changes the output.
func TestNormEps(t *testing.T) {
	gotorch.Run(func() {
		gotorch.Scope(func() {
			u := UNetConfig{InChannels: 3, ModelChannels: 32, OutChannels: 3, NumResBlocks: 1, ChannelMult: []float64{1}, NumHeads: 1}
			outputs := map[float64]float64{}
			for _, eps := range []float64{0, 1e-5, 0.5} {
				u.NormEps = eps
				m, err := New(u, 3)
				if err != nil {
					t.Fatal(err)
				}
				m.outConv.weight.Tensor.SetRequiresGrad(false)
				m.outConv.weight.Tensor.FillI(0.1) // it begins with zeros
				m.outConv.bias.Tensor.SetRequiresGrad(false)
				gotorch.NoGrad(func() {
					outputs[eps] = m.Forward(gotorch.FullOn(gotorch.Device{}, gotorch.Float, 0.3, 1, 3, 8, 8), gotorch.FromFloat32s([]float32{5}), Input{}).Float64s()[9]
				})
				m.Free()
			}
			if outputs[0] != outputs[1e-5] || outputs[0] == outputs[0.5] {
				t.Errorf("outputs by epsilon: %v", outputs)
			}
		})
	})
}
