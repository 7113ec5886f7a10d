package gotorch

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestBytesRoundTrip(t *testing.T) {
	for dtype, size := range dtypeSizes {
		data := make([]byte, 6*size)
		for i := range data {
			data[i] = byte(i % 2) // a valid bool, and a number in every other dtype
		}
		x := FromBytes(data, dtype, 2, 3)
		if x.Dtype() != dtype || !bytes.Equal(x.Bytes(), data) {
			t.Errorf("%s: %v became %v", dtype, data, x.Bytes())
		}
		want := bytes.Clone(data)
		data[0] = 9 // x is a copy
		if !bytes.Equal(x.Bytes(), want) {
			t.Errorf("%s: the tensor shares the memory of its bytes", dtype)
		}
		if got := x.Transpose(0, 1).Transpose(0, 1).Bytes(); !bytes.Equal(got, x.Bytes()) {
			t.Errorf("%s: a view's bytes differ", dtype)
		}
		if strings.HasPrefix(dtype.String(), "dtype") {
			t.Errorf("dtype %d has no name", int8(dtype))
		}
	}
	x := FromInt64s([]int64{1, 2, 3, 4, 5, 6}, 2, 3).Transpose(0, 1)
	if got := x.Int64s(); !slices.Equal(got, []int64{1, 4, 2, 5, 3, 6}) {
		t.Errorf("a transposed tensor's elements in row-major order are %v", got)
	}
	if got := FromFloat32s([]float32{1, 254.9}).Uint8s(); !slices.Equal(got, []uint8{1, 254}) {
		t.Errorf("Uint8s: %v", got)
	}
	if n := len(FromFloat32s(nil).Float32s()) + len(FromFloat32s(nil, 2, 0).Bytes()); n != 0 {
		t.Errorf("an empty tensor has %d elements", n)
	}
	if name := DType(99).String(); name != "dtype 99" {
		t.Errorf("dtype 99 is %q", name)
	}
}

func TestString(t *testing.T) {
	for want, x := range map[string]Tensor{
		"[ Tensor (undefined) ]":      {},
		" 1\n 2\n[ CPUFloatType{2} ]": FromFloat32s([]float32{1, 2}),
	} {
		if got := x.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLayouts(t *testing.T) {
	x := ArangeOn(Device{}, Float, 0, 2*3*4*5, 1).View(2, 3, 4, 5)
	y := x.ChannelsLast()
	if x.IsChannelsLast() || !y.IsChannelsLast() {
		t.Error("IsChannelsLast")
	}
	if !Equal(x, y) || !Equal(x, y.Contiguous()) || !slices.Equal(x.Float32s(), y.Float32s()) {
		t.Error("the elements changed")
	}
	if !EmptyLike(y).IsChannelsLast() || !ZerosLike(y).IsChannelsLast() || !y.Silu().IsChannelsLast() {
		t.Error("the layout got lost")
	}
	conv := Conv2d(y, zeros(8, 3, 3, 3).ChannelsLast(), Tensor{}, []int64{1}, []int64{1}, []int64{1}, 1)
	if !conv.IsChannelsLast() {
		t.Error("a convolution of channels-last is not channels-last")
	}
	if x.Numel() != 120 || x.Size(-1) != 5 || x.Device() != (Device{Index: -1}) && x.Device() != (Device{}) {
		t.Errorf("Numel %d, Size(-1) %d, Device %v", x.Numel(), x.Size(-1), x.Device())
	}
	if got := x.To(x.Device()); !Equal(got, x) || x.To(Device{}, Half).Dtype() != Half {
		t.Error("To the same device")
	}
}

func TestDevices(t *testing.T) {
	for s, want := range map[string]Device{"cpu": {}, "cuda": {Type: CUDA}, "cuda:0": {Type: CUDA}, "cuda:3": {Type: CUDA, Index: 3}} {
		if got, err := ParseDevice(s); err != nil || got != want {
			t.Errorf("ParseDevice(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cuda:128", "CUDA", "cuda:1:2"} {
		if got, err := ParseDevice(s); err == nil {
			t.Errorf("ParseDevice(%q) = %v", s, got)
		}
	}
	for want, d := range map[string]Device{"cpu": {}, "cuda:1": {Type: CUDA, Index: 1}, "cuda": {Type: CUDA, Index: -1}, "device type 7": {Type: 7}} {
		if got := d.String(); got != want {
			t.Errorf("%+v is %q, want %q", d, got, want)
		}
	}
	if one().Device().String() != "cpu" {
		t.Errorf("a tensor is on %v", one().Device())
	}
}

// TestAbsurdSizes uses shapes that exceed any memory, or that overflow: each must be
// an *Error, and none may allocate memory first.
func TestAbsurdSizes(t *testing.T) {
	checkLive(t)
	x := one()
	defer x.Free()
	for _, shape := range [][]int64{
		{-1}, {math.MinInt64}, {0, -1}, {math.MaxInt64}, {1 << 62, 4}, {1 << 32, 1 << 32}, {1 << 31, 1 << 31, 4}, {-2, -2},
		slices.Repeat([]int64{1 << 20}, 10),
	} {
		for name, f := range map[string]func(){
			"Empty":         func() { EmptyOn(Device{}, Float, shape...) },
			"Zeros":         func() { ZerosOn(Device{}, Double, shape...) },
			"Full":          func() { FullOn(Device{}, Float, 1, shape...) },
			"FromBytes":     func() { FromBytes(make([]byte, 16), Float, shape...) },
			"View":          func() { x.View(shape...).View(-7) },
			"Expand":        func() { x.Expand(append([]int64{3}, shape...)...).View(-7) },
			"PhiloxNormal":  func() { PhiloxNormal(Device{}, Float, PhiloxKey{}, shape...) },
			"PhiloxUniform": func() { PhiloxUniform(Device{}, BFloat16, PhiloxKey{}, shape...) },
		} {
			if err := Try(f); err == nil {
				t.Errorf("%s of shape %v was accepted", name, shape)
			}
		}
	}
	for dtype := math.MinInt8; dtype <= math.MaxInt8; dtype++ {
		_, known := dtypeSizes[DType(dtype)]
		for name, f := range map[string]func(){
			"Zeros":  func() { ZerosOn(Device{}, DType(dtype), 1).Free() },
			"CastTo": func() { x.CastTo(DType(dtype)).Free() },
		} {
			if err := Try(f); err == nil && !known {
				t.Errorf("%s accepts dtype %d", name, dtype)
			}
		}
	}
}

// FuzzShapes calls the operators that have shapes, dimensions and indices with arbitrary
// numbers. Each call must return a tensor or panic with an *Error.
func FuzzShapes(f *testing.F) {
	f.Add(int64(2), int64(3), int64(-1), int64(0))
	f.Add(int64(math.MaxInt64), int64(math.MinInt64), int64(1), int64(2))
	f.Add(int64(0), int64(0), int64(0), int64(0))
	f.Add(int64(-1), int64(-2), int64(-3), int64(-4))
	f.Add(int64(6), int64(4), int64(1), int64(5))
	f.Fuzz(func(t *testing.T, a, b, c, d int64) {
		Scope(func() {
			x := ArangeOn(Device{}, Float, 0, 24, 1).View(2, 3, 4)
			img := x.View(1, 2, 3, 4)
			index := FromInt64s([]int64{a % 5, b % 5})
			for _, g := range []func(){
				func() { x.View(a, b, c) },
				func() { x.Reshape(a, b) },
				func() { x.Permute([]int64{a, b, c}) },
				func() { x.Transpose(a, b) },
				func() { x.Unsqueeze(a) },
				func() { Flatten(x, a, b) },
				func() { x.Narrow(a, b, c) },
				func() { x.Chunk(a%100, b) },
				func() { x.Select(a, b) },
				func() { x.IndexSelect(a, index) },
				func() { x.SumDims(true, a, b) },
				func() { x.MeanDims(false, a) },
				func() { x.Cumprod(a) },
				func() { TopK(x, a, b, true, true) },
				func() { x.Size(a) },
				func() { Cat([]Tensor{x, x}, a) },
				func() { Stack([]Tensor{x, x}, a) },
				func() { GroupNorm(img, a, Tensor{}, Tensor{}, 1e-5) },
				func() {
					Conv2d(img, ones(2, 2, 1, 1), Tensor{}, []int64{a}, []int64{b % 100}, []int64{c}, d)
				},
				func() { MaxPool2d(img, []int64{a}, []int64{b}, []int64{c}, []int64{d}, true) },
				func() { AvgPool2d(img, []int64{a, b}, []int64{c, d}, []int64{d, a}, a == b) },
				func() { AdaptiveAvgPool2d(img, []int64{a % 100, b % 100}) },
				func() { UpsampleNearest2d(img, a%100, b%100) },
				func() { Embedding(x.View(6, 4), index) },
				func() { x.LogSoftmax(a) },
				func() { FromBytes(make([]byte, 32), Float, a, b) },
				func() { PhiloxUniform(Device{}, DType(d), PhiloxKey{FirstSample: c}, a%100, b%100) },
			} {
				_ = Try(g)
			}
		})
	})
}
