package gotorch

import (
	"fmt"
	"strings"
	"testing"
)

// normInputs are the arguments of GroupNormSilu: leaves that require gradients.
type normInputs struct {
	x, weight, bias, scaleShift, other Tensor
	dropout                            float64
}

// normKey is the key of a dropout mask.
var normKey = PhiloxKey{Seed: 9, Stream: 8, Step: 7, FirstSample: 6}

func newNormInputs(dtype DType, withScale bool, n, c, h, w int64) normInputs {
	return newNormInputsOn(Device{}, dtype, withScale, n, c, h, w)
}

func newNormInputsOn(d Device, dtype DType, withScale bool, n, c, h, w int64) normInputs {
	draw := func(stream uint32, shape ...int64) Tensor {
		return PhiloxNormal(d, Float, PhiloxKey{Seed: 1, Stream: stream}, shape...)
	}
	in := normInputs{
		x:      draw(1, n, c, h, w).MulScalar(2).AddScalar(3).CastTo(dtype),
		weight: draw(2, c).AddScalar(1),
		bias:   draw(3, c),
	}
	if withScale {
		in.scaleShift = draw(4, n, 2*c)
	}
	for _, t := range in.list() {
		t.SetRequiresGrad(true)
	}
	return in
}

func (in normInputs) list() []Tensor {
	all := []Tensor{in.x, in.weight, in.bias}
	for _, t := range []Tensor{in.scaleShift, in.other} {
		if t.Defined() {
			all = append(all, t)
		}
	}
	return all
}

// doubled returns the same inputs in float64, where the composition of libtorch's
// operators is exact enough to be the reference.
func (in normInputs) doubled() (out normInputs) {
	leaf := func(t Tensor) Tensor {
		if t.Defined() {
			t = t.Detach().CastTo(Double)
			t.SetRequiresGrad(true)
		}
		return t
	}
	return normInputs{leaf(in.x), leaf(in.weight), leaf(in.bias), leaf(in.scaleShift), leaf(in.other), in.dropout}
}

// composed is the reference implementation of GroupNormSilu.
func (in normInputs) composed(groups int64, silu bool) Tensor {
	x := in.x
	if in.other.Defined() {
		x = x.Add(in.other.CastTo(x.Dtype()).Unsqueeze(-1).Unsqueeze(-1), 1)
	}
	y := GroupNorm(x, groups, in.weight, in.bias, 1e-5)
	if in.scaleShift.Defined() {
		parts := in.scaleShift.CastTo(in.x.Dtype()).Unsqueeze(2).Unsqueeze(3).Chunk(2, 1)
		y = y.Mul(parts[0].AddScalar(1)).Add(parts[1], 1)
	}
	if silu {
		y = y.Silu()
	}
	return y.PhiloxDropout(in.dropout, normKey)
}

// fused is the operator itself.
func (in normInputs) fused(groups int64, silu bool) Tensor {
	o := GroupNormSiluOptions{InputBias: in.other, ScaleShift: in.scaleShift, Linear: !silu}
	if in.dropout > 0 {
		o.Dropout, o.Key = in.dropout, &normKey
	}
	return GroupNormSilu(in.x, groups, in.weight, in.bias, 1e-5, o)
}

// outcome returns y and the gradients of a weighted sum of y.
func (in normInputs) outcome(y Tensor) [][]float64 {
	ZeroGrads(in.list())
	y.BackwardWith(PhiloxNormal(y.Device(), Float, PhiloxKey{Seed: 2}, y.Shape()...).CastTo(y.Dtype()))
	values := [][]float64{y.Float64s()}
	for _, t := range in.list() {
		values = append(values, t.Grad().Float64s())
	}
	return values
}

// TestGroupNormSilu compares the kernel with libtorch's operators, forward and
// backward.
func TestGroupNormSilu(t *testing.T) {
	checkGroupNormSilu(t, Device{}, map[DType]float64{Float: 2e-5, BFloat16: 2e-2})
}

// checkGroupNormSilu compares odd shapes: one pixel, one channel per group, sizes
// that are not multiples of a chunk.
func checkGroupNormSilu(t *testing.T, d Device, tolerances map[DType]float64) {
	for _, shape := range [][5]int64{{32, 2, 32, 16, 16}, {32, 3, 96, 7, 5}, {4, 1, 12, 23, 17}, {16, 2, 64, 1, 1}, {1, 2, 5, 3, 3}, {8, 5, 8, 9, 1}} {
		for dtype, tolerance := range tolerances {
			for _, withScale := range []bool{true, false} {
				for _, silu := range []bool{true, false} {
					t.Run(fmt.Sprint(shape, dtype, withScale, silu), func(t *testing.T) {
						Scope(func() {
							in := newNormInputsOn(d, dtype, withScale, shape[1], shape[2], shape[3], shape[4])
							compareGroupNormSilu(t, in, shape[0], silu, tolerance)
						})
					})
				}
			}
		}
	}
}

func compareGroupNormSilu(t *testing.T, in normInputs, groups int64, silu bool, tolerance float64) {
	exact := in.doubled()
	want := exact.outcome(exact.composed(groups, silu))
	got := in.outcome(in.fused(groups, silu))
	for k := range want {
		if d, largest := furthest(got[k], want[k]); d > tolerance*max(largest, 1) {
			t.Errorf("result or gradient %d differs by %g of %g", k, d, largest)
		}
	}
}

// TestGroupNormSiluInputBias adds a bias per channel and a bias per image and channel,
// with dropout.
func TestGroupNormSiluInputBias(t *testing.T) {
	checkGroupNormSiluInputBias(t, Device{}, map[DType]float64{Float: 2e-5, BFloat16: 3e-2})
}

func checkGroupNormSiluInputBias(t *testing.T, d Device, tolerances map[DType]float64) {
	for dtype, tolerance := range tolerances {
		for name, shape := range map[string][]int64{"channels": {96}, "images": {3, 96}} {
			for _, withScale := range []bool{true, false} {
				t.Run(fmt.Sprint(dtype, name, withScale), func(t *testing.T) {
					Scope(func() {
						in := newNormInputsOn(d, dtype, withScale, 3, 96, 13, 11)
						in.other = PhiloxNormal(d, Float, PhiloxKey{Seed: 7}, shape...)
						in.other.SetRequiresGrad(true)
						compareGroupNormSilu(t, in, 32, true, tolerance)
						in.dropout = 0.3
						compareGroupNormSilu(t, in, 32, true, tolerance)
					})
				})
			}
		}
	}
}

// TestGroupNormSiluSkip also uses the input in a skip connection: it gets the sum of
// both gradients, or the one that is defined.
func TestGroupNormSiluSkip(t *testing.T) {
	checkGroupNormSiluSkip(t, Device{}, map[DType]float64{Float: 2e-5, BFloat16: 2e-2})
}

func checkGroupNormSiluSkip(t *testing.T, d Device, tolerances map[DType]float64) {
	for dtype, tolerance := range tolerances {
		for name, join := range map[string]func(y, x Tensor) Tensor{
			"both":      func(y, x Tensor) Tensor { return y.Add(x.Mul(x), 1) },
			"y alone":   func(y, x Tensor) Tensor { return y },
			"x alone":   func(y, x Tensor) Tensor { return x.MulScalar(2) },
			"y twice":   func(y, x Tensor) Tensor { return y.Mul(y).Add(x, 1) },
			"row-major": func(y, x Tensor) Tensor { return y.Add(x.Mul(x.Contiguous()), 1) },
		} {
			Scope(func() {
				in := newNormInputsOn(d, dtype, true, 2, 32, 7, 5)
				exact := in.doubled()
				values := func(in normInputs, y, x Tensor) []float64 {
					ZeroGrads(in.list())
					z := join(y, x)
					z.BackwardWith(PhiloxNormal(d, Float, PhiloxKey{Seed: 2}, z.Shape()...).CastTo(z.Dtype()))
					return append(z.Float64s(), in.x.Grad().Float64s()...)
				}
				want := values(exact, exact.composed(32, true), exact.x)
				y, x := GroupNormSiluSkip(in.x, 32, in.weight, in.bias, 1e-5, GroupNormSiluOptions{ScaleShift: in.scaleShift})
				got := values(in, y, x)
				if d, largest := furthest(got, want); d > tolerance*max(largest, 1) {
					t.Errorf("%s of %s differs by %g of %g", name, dtype, d, largest)
				}
			})
		}
	}
	Scope(func() { // a memory layout that the kernel does not support
		in := newNormInputsOn(d, Float, true, 2, 32, 4, 4)
		plain := in.x.Detach().Contiguous()
		if _, x := GroupNormSiluSkip(plain, 32, in.weight, in.bias, 1e-5, GroupNormSiluOptions{}); !Equal(x, plain) {
			t.Error("the second result is not the input")
		}
	})
}

// TestGroupNormSiluConcat compares the norm of two tensors with that of their concatenation.
func TestGroupNormSiluConcat(t *testing.T) {
	checkGroupNormSiluConcat(t, Device{}, map[DType]float64{Float: 1e-6, BFloat16: 1e-2})
}

func checkGroupNormSiluConcat(t *testing.T, d Device, tolerances map[DType]float64) {
	for dtype, tolerance := range tolerances {
		for _, split := range []int64{1, 32, 40, 63} {
			for name, join := range map[string]func(y, x Tensor) Tensor{
				"both":      func(y, x Tensor) Tensor { return y.Add(x.Mul(x), 1) },
				"y alone":   func(y, x Tensor) Tensor { return y },
				"x alone":   func(y, x Tensor) Tensor { return x.MulScalar(2) },
				"row-major": func(y, x Tensor) Tensor { return y.Add(x.Mul(x.Contiguous()), 1) },
			} {
				Scope(func() {
					in := newNormInputsOn(d, dtype, true, 2, 64, 7, 5)
					first, rest := in.x.Detach().Narrow(1, 0, split).ChannelsLast(), in.x.Detach().Narrow(1, split, 64-split).ChannelsLast()
					first.SetRequiresGrad(true)
					rest.SetRequiresGrad(true)
					o := GroupNormSiluOptions{ScaleShift: in.scaleShift}
					values := func(y, x Tensor, of ...Tensor) []float64 {
						z := join(y, x)
						z.BackwardWith(PhiloxNormal(d, Float, PhiloxKey{Seed: 2}, z.Shape()...).CastTo(z.Dtype()))
						grads := make([]Tensor, len(of))
						for i, x := range of {
							grads[i] = x.Grad()
						}
						return append(z.Float64s(), Cat(grads, 1).Float64s()...)
					}
					y, x := GroupNormSiluSkip(in.x, 32, in.weight, in.bias, 1e-5, o)
					want := values(y, x, in.x)
					y, x = GroupNormSiluConcat(first, rest, 32, in.weight, in.bias, 1e-5, o)
					got := values(y, x, first, rest)
					if d, largest := furthest(got, want); d > tolerance*max(largest, 1) {
						t.Errorf("%s of %s at %d differs by %g of %g", name, dtype, split, d, largest)
					}
				})
			}
		}
	}
}

func TestGroupNormSiluRefuses(t *testing.T) {
	for want, o := range map[string]GroupNormSiluOptions{
		"the input bias [2] does not fit":     {InputBias: zeros(2)},
		"scale and shift [2] do not fit":      {ScaleShift: zeros(2)},
		"the dropout rate 1 is not in [0, 1)": {Dropout: 1, Key: &normKey},
		"dropout needs a Key":                 {Dropout: 0.5},
	} {
		in := newNormInputs(Float, false, 1, 4, 2, 2)
		err := mustFail(t, func() { GroupNormSilu(in.x, 2, in.weight, in.bias, 1e-5, o) })
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func furthest(a, b []float64) (worst, largest float64) {
	for i := range b {
		worst = max(worst, a[i]-b[i], b[i]-a[i])
		largest = max(largest, b[i], -b[i])
	}
	return worst, largest
}

// TestGroupNormSiluFallsBack checks memory layouts that the kernel does not support.
func TestGroupNormSiluFallsBack(t *testing.T) {
	Scope(func() {
		in := newNormInputs(Float, true, 2, 32, 4, 4)
		in.x = in.x.Detach().Contiguous()
		got := in.fused(32, true)
		if d, largest := furthest(got.Float64s(), in.composed(32, true).Float64s()); d > 1e-6*largest {
			t.Errorf("a row-major input differs by %g of %g", d, largest)
		}
	})
}
