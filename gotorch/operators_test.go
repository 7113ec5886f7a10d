package gotorch

import (
	"math"
	"testing"
)

// TestOperators compares each operator with values computed by hand or by PyTorch 2.11.
func TestOperators(t *testing.T) {
	nan := math.NaN()
	f := func(v ...float32) Tensor { return FromFloat32s(v) }
	count := func(shape ...int64) Tensor {
		return ArangeOn(Device{}, Float, 1, 1+float64(product(shape)), 1).View(shape...)
	}
	none := Tensor{}
	for _, c := range []struct {
		name  string
		got   func() Tensor
		dtype DType
		shape []int64
		want  []float64
	}{
		// constructors
		{"Full scalar", func() Tensor { return FullOn(Device{}, Long, 7) }, Long, nil, []float64{7}},
		{"Full bool", func() Tensor { return FullOn(Device{}, Bool, 1, 2) }, Bool, []int64{2}, []float64{1, 1}},
		{"ZerosOn", func() Tensor { return ZerosOn(Device{}, BFloat16, 2) }, BFloat16, []int64{2}, []float64{0, 0}},
		{"ArangeOn", func() Tensor { return ArangeOn(Device{}, Long, 3, 0, -1) }, Long, []int64{3}, []float64{3, 2, 1}},
		{"LinspaceOn", func() Tensor { return LinspaceOn(Device{}, Double, 0, 1, 11).Select(0, 3) }, Double, nil, []float64{0.30000000000000004}},
		{"ZerosLike", func() Tensor { return ZerosLike(count(2, 2)) }, Float, []int64{2, 2}, []float64{0, 0, 0, 0}},
		{"FillI", func() Tensor { x := EmptyOn(Device{}, Float, 2); x.FillI(3); return x }, Float, []int64{2}, []float64{3, 3}},

		// pointwise
		{"Add", func() Tensor { return f(1, 2).Add(f(10, 20), 0.5) }, Float, []int64{2}, []float64{6, 12}},
		{"Add float64", func() Tensor { return FromFloat64s([]float64{1}).Add(FromFloat64s([]float64{1}), 0.1) }, Double, []int64{1}, []float64{1.1}},
		{"Add broadcast", func() Tensor { return count(2, 1).Add(f(10, 20), 1) }, Float, []int64{2, 2}, []float64{11, 21, 12, 22}},
		{"Add int64", func() Tensor { return FromInt64s([]int64{1, 2}).Add(FromInt64s([]int64{1, 1}), 2) }, Long, []int64{2}, []float64{3, 4}},
		{"Add promotes", func() Tensor { return FromInt64s([]int64{1}).Add(f(0.5), 1) }, Float, []int64{1}, []float64{1.5}},
		{"AddI", func() Tensor { return f(1, 2).AddI(f(10, 20), -1) }, Float, []int64{2}, []float64{-9, -18}},
		{"Sub", func() Tensor { return f(1, 2).Sub(f(10, 20), 2) }, Float, []int64{2}, []float64{-19, -38}},
		{"SubI", func() Tensor { return f(1, 2).SubI(f(10, 20), 1) }, Float, []int64{2}, []float64{-9, -18}},
		{"Mul", func() Tensor { return f(2, 3).Mul(f(4, 5)) }, Float, []int64{2}, []float64{8, 15}},
		{"Div", func() Tensor { return f(1, 3).Div(f(4, 2)) }, Float, []int64{2}, []float64{0.25, 1.5}},
		{"Div by zero", func() Tensor { return f(1, 0).Div(f(0, 0)) }, Float, []int64{2}, []float64{math.Inf(1), nan}},
		{"DivI", func() Tensor { return f(1, 3).DivI(f(4, 2)) }, Float, []int64{2}, []float64{0.25, 1.5}},
		{"AddScalar", func() Tensor { return f(1, 2).AddScalar(0.5) }, Float, []int64{2}, []float64{1.5, 2.5}},
		{"AddScalar int64", func() Tensor { return FromInt64s([]int64{1}).AddScalar(2) }, Long, []int64{1}, []float64{3}},
		{"AddScalarI", func() Tensor { return f(1, 2).AddScalarI(-1) }, Float, []int64{2}, []float64{0, 1}},
		{"MulScalar", func() Tensor { return f(1, 2).MulScalar(3) }, Float, []int64{2}, []float64{3, 6}},
		{"MulScalarI", func() Tensor { return f(1, 2).MulScalarI(3) }, Float, []int64{2}, []float64{3, 6}},
		{"PowScalar", func() Tensor { return f(2, 3).PowScalar(3) }, Float, []int64{2}, []float64{8, 27}},
		{"PowScalar -1", func() Tensor { return f(2, 4).PowScalar(-1) }, Float, []int64{2}, []float64{0.5, 0.25}},
		{"Addcmul", func() Tensor { return f(1, 2).Addcmul(f(3, 4), f(5, 6), 0.5) }, Float, []int64{2}, []float64{8.5, 14}},
		{"Clamp", func() Tensor { return f(-2, 0.5, 2).Clamp(-1, 1) }, Float, []int64{3}, []float64{-1, 0.5, 1}},
		{"ClampMin", func() Tensor { return f(-2, 0.5, 2).ClampMin(0) }, Float, []int64{3}, []float64{0, 0.5, 2}},
		{"Where", func() Tensor { return Where(f(1, -1).GreaterScalar(0), f(1, 2), f(3, 4)) }, Float, []int64{2}, []float64{1, 4}},
		{"Exp", func() Tensor { return f(-1.5, 0.5).Exp() }, Float, []int64{2}, []float64{math.Exp(-1.5), math.Exp(0.5)}},
		{"Log", func() Tensor { return f(-1, 0, 2.5).Log() }, Float, []int64{3}, []float64{nan, math.Inf(-1), math.Log(2.5)}},
		{"Sqrt", func() Tensor { return f(-1, 0.25).Sqrt() }, Float, []int64{2}, []float64{nan, 0.5}},
		{"Neg", func() Tensor { return f(-1, 2).Neg() }, Float, []int64{2}, []float64{1, -2}},
		{"Abs", func() Tensor { return f(-1, 2).Abs() }, Float, []int64{2}, []float64{1, 2}},
		{"Tanh", func() Tensor { return f(-1.5, 2.5).Tanh() }, Float, []int64{2}, []float64{math.Tanh(-1.5), math.Tanh(2.5)}},
		{"Sigmoid", func() Tensor { return f(-1.5, 2.5).Sigmoid() }, Float, []int64{2}, []float64{0.18242552376, 0.92414182125}},
		{"Silu", func() Tensor { return f(-1.5, 0.5, 2.5).Silu() }, Float, []int64{3}, []float64{-0.2736382782, 0.311229676, 2.3103544712}},
		{"Relu", func() Tensor { return f(-1.5, 2.5).Relu() }, Float, []int64{2}, []float64{0, 2.5}},
		{"Cos", func() Tensor { return f(-1.5, 2.5).Cos() }, Float, []int64{2}, []float64{math.Cos(1.5), math.Cos(2.5)}},
		{"Sin", func() Tensor { return f(-1.5, 2.5).Sin() }, Float, []int64{2}, []float64{-math.Sin(1.5), math.Sin(2.5)}},
		{"IsFinite", func() Tensor { return f(1, float32(math.Inf(1)), float32(nan)).IsFinite() }, Bool, []int64{3}, []float64{1, 0, 0}},
		{"Less", func() Tensor { return f(1, 2, 3).Less(f(2)) }, Bool, []int64{3}, []float64{1, 0, 0}},
		{"EqScalar", func() Tensor { return FromInt64s([]int64{1, 2}).EqScalar(2) }, Bool, []int64{2}, []float64{0, 1}},
		{"EqScalar fraction", func() Tensor { return FromInt64s([]int64{1, 2}).EqScalar(1.5) }, Bool, []int64{2}, []float64{0, 0}},
		{"LessScalar", func() Tensor { return f(1, 2, 3).LessScalar(2) }, Bool, []int64{3}, []float64{1, 0, 0}},
		{"GreaterScalar", func() Tensor { return FromInt64s([]int64{1, 2}).GreaterScalar(1.5) }, Bool, []int64{2}, []float64{0, 1}},

		// reductions
		{"Sum", func() Tensor { return count(2, 3).Sum() }, Float, nil, []float64{21}},
		{"SumDims", func() Tensor { return count(2, 3, 2).SumDims(false, 0, 2) }, Float, []int64{3}, []float64{18, 26, 34}},
		{"Sum bool", func() Tensor { return f(1, 0, 1).EqScalar(1).Sum() }, Long, nil, []float64{2}},
		{"Mean", func() Tensor { return count(2, 3).Mean() }, Float, nil, []float64{3.5}},
		{"MeanDims", func() Tensor { return count(2, 3).MeanDims(true, -1) }, Float, []int64{2, 1}, []float64{2, 5}},
		{"Max", func() Tensor { return count(2, 3).Max() }, Float, nil, []float64{6}},
		{"Cumprod", func() Tensor { return count(2, 3).Cumprod(1) }, Float, []int64{2, 3}, []float64{1, 2, 6, 4, 20, 120}},
		{"TopK values", func() Tensor { v, _ := TopK(f(3, 1, 2), 2, 0, true, true); return v }, Float, []int64{2}, []float64{3, 2}},
		{"TopK indices", func() Tensor { _, i := TopK(f(3, 1, 2), 2, 0, false, true); return i }, Long, []int64{2}, []float64{1, 2}},

		// shapes
		{"View", func() Tensor { return count(2, 3).View(3, -1) }, Float, []int64{3, 2}, []float64{1, 2, 3, 4, 5, 6}},
		{"View scalar", func() Tensor { return count(1).View() }, Float, nil, []float64{1}},
		{"Reshape", func() Tensor { return count(2, 3).Transpose(0, 1).Reshape(6) }, Float, []int64{6}, []float64{1, 4, 2, 5, 3, 6}},
		{"Permute", func() Tensor { return count(1, 2, 3).Permute([]int64{2, 0, 1}) }, Float, []int64{3, 1, 2}, []float64{1, 4, 2, 5, 3, 6}},
		{"Transpose", func() Tensor { return count(2, 2).Transpose(0, -1) }, Float, []int64{2, 2}, []float64{1, 3, 2, 4}},
		{"Unsqueeze", func() Tensor { return count(2).Unsqueeze(1) }, Float, []int64{2, 1}, []float64{1, 2}},
		{"Flatten", func() Tensor { return Flatten(count(2, 1, 3), 1, 2) }, Float, []int64{2, 3}, []float64{1, 2, 3, 4, 5, 6}},
		{"Expand", func() Tensor { return count(2, 1).Expand(-1, 2) }, Float, []int64{2, 2}, []float64{1, 1, 2, 2}},
		{"Narrow", func() Tensor { return count(2, 3).Narrow(1, 1, 2) }, Float, []int64{2, 2}, []float64{2, 3, 5, 6}},
		{"Chunk", func() Tensor { return count(2, 4).Chunk(2, 1)[1] }, Float, []int64{2, 2}, []float64{3, 4, 7, 8}},
		{"Select", func() Tensor { return count(2, 3).Select(1, -1) }, Float, []int64{2}, []float64{3, 6}},
		{"IndexSelect", func() Tensor { return count(2, 3).IndexSelect(1, FromInt64s([]int64{2, 0, 2})) }, Float, []int64{2, 3}, []float64{3, 1, 3, 6, 4, 6}},
		{"Cat", func() Tensor { return Cat([]Tensor{count(1, 2), count(2, 2)}, 0) }, Float, []int64{3, 2}, []float64{1, 2, 1, 2, 3, 4}},
		{"Stack", func() Tensor { return Stack([]Tensor{f(1, 2), f(3, 4)}, 1) }, Float, []int64{2, 2}, []float64{1, 3, 2, 4}},

		// products and layers
		{"MM", func() Tensor { return MM(count(2, 2), count(2, 1)) }, Float, []int64{2, 1}, []float64{5, 11}},
		{"MatMul", func() Tensor { return MatMul(count(2, 1, 2), count(2, 1)) }, Float, []int64{2, 1, 1}, []float64{5, 11}},
		{"LinearEach", func() Tensor {
			return Cat(LinearEach(count(2, 2), []Tensor{count(2, 2), count(1, 2)}, []Tensor{f(1, 2), f(3)}), 1)
		}, Float, []int64{2, 3}, []float64{6, 13, 8, 12, 27, 14}},
		{"Linear", func() Tensor { return Linear(count(2, 2), count(2, 2), f(1, 2)) }, Float, []int64{2, 2}, []float64{6, 13, 12, 27}},
		{"Linear no bias", func() Tensor { return Linear(count(2), count(1, 2), none) }, Float, []int64{1}, []float64{5}},
		{"Conv2d", func() Tensor {
			return Conv2d(count(1, 1, 4, 4), count(1, 1, 3, 3), f(1), []int64{2}, []int64{1}, []int64{1}, 1)
		}, Float, []int64{1, 1, 2, 2}, []float64{112, 218, 364, 574}},
		{"Conv2d dilated", func() Tensor {
			return Conv2d(count(1, 1, 4, 4), count(1, 1, 3, 3), none, []int64{1, 1}, []int64{2, 1}, []int64{2, 1}, 1)
		}, Float, []int64{1, 1, 4, 4}, []float64{179, 274, 313, 205, 291, 430, 469, 301, 113, 166, 187, 115, 177, 250, 271, 163}},
		{"Conv2d groups", func() Tensor {
			return Conv2d(count(1, 2, 1, 1), count(2, 1, 1, 1), none, []int64{1}, []int64{0}, []int64{1}, 2)
		}, Float, []int64{1, 2, 1, 1}, []float64{1, 4}},
		{"GroupNorm", func() Tensor {
			return GroupNorm(count(1, 4, 2).AddScalar(-1), 2, f(1, 2, 3, 4), f(0, 1, 0, 1), 1e-5)
		}, Float, []int64{1, 4, 2}, []float64{-1.3416354656, -0.4472118616, 1.8944236040, 3.6832709312, -4.0249061584, -1.3416352272, 2.7888479233, 6.3665423393}},
		{"LogSoftmax", func() Tensor { return count(1, 3).LogSoftmax(-1) }, Float, []int64{1, 3}, []float64{-2.4076058865, -1.4076058865, -0.4076059461}},
		{"NllLoss", func() Tensor {
			return NllLoss(count(1, 3).LogSoftmax(1).Expand(2, 3), FromInt64s([]int64{0, 2}))
		}, Float, []int64{2}, []float64{2.4076058865, 0.4076059461}},
		{"ScaledDotProductAttention", func() Tensor {
			q := f(1, 0, 0, 1).View(1, 1, 2, 2)
			return ScaledDotProductAttention(q, q, count(1, 1, 2, 2))
		}, Float, []int64{1, 1, 2, 2}, []float64{1.6604769230, 2.6604769230, 2.3395230770, 3.3395230770}},
		{"Embedding", func() Tensor { return Embedding(count(3, 2), FromInt64s([]int64{2, 0}, 1, 2)) }, Float, []int64{1, 2, 2}, []float64{5, 6, 1, 2}},
		{"MaxPool2d", func() Tensor {
			return MaxPool2d(count(1, 1, 3, 3), []int64{2}, []int64{2}, []int64{0}, []int64{1}, true)
		}, Float, []int64{1, 1, 2, 2}, []float64{5, 6, 8, 9}},
		{"AvgPool2d", func() Tensor { return AvgPool2d(count(1, 1, 2, 4), []int64{2}, []int64{2}, []int64{0}, true) }, Float, []int64{1, 1, 1, 2}, []float64{3.5, 5.5}},
		{"AvgPool2d with its padding", func() Tensor { return AvgPool2d(count(1, 1, 1, 2), []int64{3}, []int64{1}, []int64{1}, true) }, Float, []int64{1, 1, 1, 2}, []float64{3. / 9, 3. / 9}},
		{"AvgPool2d without its padding", func() Tensor { return AvgPool2d(count(1, 1, 1, 2), []int64{3}, []int64{1}, []int64{1}, false) }, Float, []int64{1, 1, 1, 2}, []float64{1.5, 1.5}},
		{"Eigh values", func() Tensor { v, _ := Eigh(f(2, 1, 1, 2).View(2, 2)); return v }, Float, []int64{2}, []float64{1, 3}},
		{"Eigh vectors", func() Tensor { _, v := Eigh(f(2, 0, 0, 1).View(2, 2)); return v.Abs() }, Float, []int64{2, 2}, []float64{0, 1, 1, 0}},
		{"AdaptiveAvgPool2d", func() Tensor { return AdaptiveAvgPool2d(count(1, 1, 2, 4), []int64{1, 2}) }, Float, []int64{1, 1, 1, 2}, []float64{3.5, 5.5}},
		{"UpsampleNearest2d", func() Tensor { return UpsampleNearest2d(count(1, 1, 1, 2), 2, 4) }, Float, []int64{1, 1, 2, 4}, []float64{1, 1, 2, 2, 1, 1, 2, 2}},
		{"UpsampleBilinear2d", func() Tensor { return UpsampleBilinear2d(count(1, 1, 2, 2), 4, 4) }, Float, []int64{1, 1, 4, 4}, []float64{1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4}},
		{"DiffusionQSample", func() Tensor {
			xT, _ := DiffusionQSample(count(2, 1, 1, 2), f(2, 0, -3, 0).View(2, 2), PhiloxKey{})
			return xT
		}, Float, []int64{2, 1, 1, 2}, []float64{2, 4, -9, -12}},
		{"DiffusionQSample noise", func() Tensor {
			xT, noise := DiffusionQSample(count(1, 1, 1, 2), f(0, 2).View(1, 2), PhiloxKey{})
			return xT.Div(noise)
		}, Float, []int64{1, 1, 1, 2}, []float64{2, 2}},
		{"DiffusionReverseStep", func() Tensor { // predictions 1 and -1, variances 0 and 2
			row := f(1, -2, 2, 3, 0.5, 0, math.Ln2, 0.5).View(1, 8)
			previous, _ := DiffusionReverseStep(f(1, -1, 0, 2).View(1, 2, 1, 2), count(1, 1, 1, 2), row, ReverseStepOptions{Clip: true, Noise: f(1, -3).View(1, 1, 1, 2)})
			return previous
		}, Float, []int64{1, 1, 1, 2}, []float64{2, 4.5}},
		{"DiffusionReverseStep x_0", func() Tensor {
			row := f(1, -2, 0, 0, 0, 0, 0, 0).View(1, 8)
			_, xStart := DiffusionReverseStep(f(1, -1).View(1, 1, 1, 2), count(1, 1, 1, 2), row, ReverseStepOptions{})
			return xStart
		}, Float, []int64{1, 1, 1, 2}, []float64{-1, 4}},

		// lists
		{"TotalNorm", func() Tensor { return TotalNorm([]Tensor{f(1, 2), f(2), f(4)}) }, Float, nil, []float64{5}},
		{"TotalNorm float64", func() Tensor { return TotalNorm([]Tensor{FromFloat64s([]float64{3}), f(4)}) }, Double, nil, []float64{5}},
		{"TotalNorm bfloat16", func() Tensor { return TotalNorm([]Tensor{f(3e4).CastTo(Half), f(4e4).CastTo(Half)}) }, Float, nil, []float64{5e4}},
		{"ForeachAddI", func() Tensor {
			a := []Tensor{f(0, 8), f(4)}
			ForeachAddI(a, []Tensor{f(8, 0), f(1)}, -0.5)
			return Cat(a, 0)
		}, Float, []int64{3}, []float64{-4, 8, 3.5}},
		{"ForeachMulI", func() Tensor {
			a := []Tensor{f(0, 8), f(4)}
			ForeachMulI(a, FullOn(Device{}, Float, 0.5))
			return Cat(a, 0)
		}, Float, []int64{3}, []float64{0, 4, 2}},
		{"ForeachCopyI", func() Tensor {
			a := []Tensor{f(0, 8), f(4)}
			ForeachCopyI(a, []Tensor{f(1, 2), f(3)})
			return Cat(a, 0)
		}, Float, []int64{3}, []float64{1, 2, 3}},

		// copies
		{"Clone", func() Tensor { x := f(1); y := x.Clone(); x.FillI(2); return y }, Float, []int64{1}, []float64{1}},
		{"CopyI", func() Tensor {
			x := ZerosOn(Device{}, BFloat16, 2)
			x.CopyI(FromInt64s([]int64{3, 4}))
			return x
		}, BFloat16, []int64{2}, []float64{3, 4}},
		{"Detach", func() Tensor { return f(1, 2).Detach() }, Float, []int64{2}, []float64{1, 2}},
		{"CastTo", func() Tensor { return f(1.9, -1.9).CastTo(Int) }, Int, []int64{2}, []float64{1, -1}},
		{"To", func() Tensor { return f(1.5).To(Device{}, Double) }, Double, []int64{1}, []float64{1.5}},
		{"Contiguous", func() Tensor { return count(2, 2).Transpose(0, 1).Contiguous() }, Float, []int64{2, 2}, []float64{1, 3, 2, 4}},
		{"ChannelsLast", func() Tensor { return count(1, 2, 1, 2).ChannelsLast() }, Float, []int64{1, 2, 1, 2}, []float64{1, 2, 3, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			Scope(func() {
				got := c.got()
				if d := got.Dtype(); d != c.dtype {
					t.Errorf("dtype %s, want %s", d, c.dtype)
				}
				checkShape(t, got, c.shape...)
				checkValues(t, got, c.want, 1e-6)
			})
		})
	}
}

func product(shape []int64) int64 {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	return n
}

// TestComparisonsOfTensors covers the operators that return a Go bool.
func TestComparisonsOfTensors(t *testing.T) {
	a, b := FromFloat32s([]float32{1, 2}), FromFloat32s([]float32{1, 2.00001})
	for _, c := range []struct {
		name      string
		got, want bool
	}{
		{"Equal same", Equal(a, a.Clone()), true},
		{"Equal other", Equal(a, b), false},
		{"Equal shape", Equal(a, a.View(1, 2)), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}

// TestGradients computes the gradients of a small expression by each function.
func TestGradients(t *testing.T) {
	Scope(func() {
		x := FromFloat64s([]float64{1, 2, 3})
		x.SetRequiresGrad(true)
		if !x.RequiresGrad() || x.Detach().RequiresGrad() {
			t.Fatal("RequiresGrad")
		}
		if x.Grad().Defined() {
			t.Fatal("a gradient before any backward pass")
		}
		x.Mul(x).Sum().Backward() // d sum(x^2) = 2x
		checkValues(t, x.Grad(), []float64{2, 4, 6}, 0)
		x.Mul(x).BackwardWith(FromFloat64s([]float64{1, 10, 100})) // accumulates
		checkValues(t, x.Grad(), []float64{4, 44, 606}, 0)
		x.SetGrad(FromFloat64s([]float64{7, 8, 9}))
		checkValues(t, x.Grad(), []float64{7, 8, 9}, 0)
		x.SetGrad(Tensor{})
		if x.Grad().Defined() {
			t.Fatal("SetGrad(Tensor{}) left a gradient")
		}
		x.Sum().Backward()
		ZeroGrads([]Tensor{x})
		if x.Grad().Defined() {
			t.Fatal("ZeroGrads left a gradient")
		}
	})
}

// TestBackwardAll runs one backward pass from two results of one operator.
func TestBackwardAll(t *testing.T) {
	Scope(func() {
		x := FromFloat64s([]float64{1, 2, 3})
		x.SetRequiresGrad(true)
		y := x.Mul(x)
		BackwardAll([]Tensor{y.MulScalar(2), y.Narrow(0, 1, 2)}, []Tensor{FromFloat64s([]float64{1, 0, 2}), FromFloat64s([]float64{10, 20})})
		checkValues(t, x.Grad(), []float64{4, 40, 24 + 120}, 0)
		BackwardAll(nil, nil)
		mustFail(t, func() { BackwardAll([]Tensor{x}, nil) })
	})
}
