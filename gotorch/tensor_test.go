package gotorch

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

func TestNewTensor(t *testing.T) {
	for _, c := range []struct {
		name  string
		data  interface{}
		dtype int8
		shape []int64
		want  []float64
	}{
		{"uint8", []uint8{0, 255}, Byte, []int64{2}, []float64{0, 255}},
		{"int8", []int8{-1}, Char, []int64{1}, []float64{-1}},
		{"int16", []int16{-300}, Short, []int64{1}, []float64{-300}},
		{"int32", []int32{1 << 30}, Int, []int64{1}, []float64{1 << 30}},
		{"int64", []int64{1 << 40}, Long, []int64{1}, []float64{1 << 40}},
		{"float16", []uint16{0x3C00, 0xC000}, Half, []int64{2}, []float64{1, -2}},
		{"float32", []float32{0.5}, Float, []int64{1}, []float64{0.5}},
		{"float64", []float64{math.Pi}, Double, []int64{1}, []float64{math.Pi}},
		{"bool", []bool{true, false}, Bool, []int64{2}, []float64{1, 0}},
		{"nested", [][][]float32{{{1, 2}, {3, 4}, {5, 6}}}, Float, []int64{1, 3, 2}, []float64{1, 2, 3, 4, 5, 6}},
		{"empty", []float32{}, Float, []int64{0}, nil},
		{"empty rows", [][]float32{{}, {}}, Float, []int64{2, 0}, nil},
		{"nil", []float32(nil), Float, []int64{0}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := NewTensor(c.data)
			if got.Dtype() != c.dtype {
				t.Errorf("dtype %s", DtypeName(got.Dtype()))
			}
			checkShape(t, got, c.shape...)
			checkValues(t, got, c.want, 0)
		})
	}
	if d := NewTensor([]float32{1}, map[string]interface{}{"dtype": Long}).Dtype(); d != Long {
		t.Errorf("the option dtype gave %s", DtypeName(d))
	}
	type named []float32
	checkValues(t, NewTensor([]named{{1}, {2}}), []float64{1, 2}, 0)
	for name, data := range map[string]interface{}{
		"nil": nil, "number": 1.5, "array": [2]float32{}, "strings": []string{"a"}, "no rows": [][]float32{},
		"interfaces": []interface{}{1.5}, "ragged": [][]int64{{1}, {}}, "map": map[int]int{},
	} {
		if err := Try(func() { NewTensor(data) }); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestBytesRoundTrip(t *testing.T) {
	for dtype, size := range dtypeSize {
		data := make([]byte, 6*size)
		for i := range data {
			data[i] = byte(i % 2) // a valid bool, and a number in every other dtype
		}
		x := FromBytes(data, dtype, 2, 3)
		if x.Dtype() != dtype || !bytes.Equal(x.Bytes(), data) {
			t.Errorf("%s: %v became %v", DtypeName(dtype), data, x.Bytes())
		}
		y := FromBlob(unsafe.Pointer(&data[0]), dtype, []int64{2, 3})
		data[0] = 9 // both are copies
		if !bytes.Equal(y.Bytes(), x.Bytes()) {
			t.Errorf("%s: FromBlob differs from FromBytes", DtypeName(dtype))
		}
		if got := x.Transpose(0, 1).Transpose(0, 1).Bytes(); !bytes.Equal(got, x.Bytes()) {
			t.Errorf("%s: a view's bytes differ", DtypeName(dtype))
		}
		if strings.HasPrefix(DtypeName(dtype), "dtype") {
			t.Errorf("dtype %d has no name", dtype)
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
	if name := DtypeName(99); name != "dtype 99" {
		t.Errorf("DtypeName(99) = %q", name)
	}
}

func TestItem(t *testing.T) {
	const large = 1<<53 + 1 // no float64
	for _, c := range []struct {
		tensor Tensor
		want   interface{}
	}{
		{NewTensor([]bool{true}), true},
		{NewTensor([]uint8{200}), int64(200)},
		{NewTensor([]int32{-3}), int64(-3)},
		{NewTensor([]int64{large}), int64(large)},
		{NewTensor([]float32{1.5}), float32(1.5)},
		{NewTensor([]float32{1.5}).CastTo(BFloat16), float32(1.5)},
		{NewTensor([]float32{1.5}).CastTo(Half), float32(1.5)},
		{NewTensor([]float64{math.Pi}), math.Pi},
		{NewTensor([][]float64{{math.Pi}}), math.Pi},
	} {
		if got := c.tensor.Item(); got != c.want {
			t.Errorf("Item of %v is %v (%T), want %v (%T)", c.tensor, got, got, c.want, c.want)
		}
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
	if !x.IsContiguous() || x.IsChannelsLast() || y.IsContiguous() || !y.IsChannelsLast() {
		t.Error("IsContiguous and IsChannelsLast")
	}
	if s := y.Stride(); !slices.Equal(s, []int64{60, 1, 15, 3}) {
		t.Errorf("strides %v", s)
	}
	if !Equal(x, y) || !Equal(x, y.Contiguous()) || !slices.Equal(x.Float32s(), y.Float32s()) {
		t.Error("the elements changed")
	}
	if !EmptyLike(y).IsChannelsLast() || !ZerosLike(y).IsChannelsLast() || !y.Silu().IsChannelsLast() {
		t.Error("the layout got lost")
	}
	conv := Conv2d(y, Zeros([]int64{8, 3, 3, 3}, false).ChannelsLast(), Tensor{}, []int64{1}, []int64{1}, []int64{1}, 1)
	if !conv.IsChannelsLast() {
		t.Error("a convolution of channels-last is not channels-last")
	}
	if x.Dim() != 4 || x.Numel() != 120 || x.Size(-1) != 5 || x.Device() != (Device{Index: -1}) && x.Device() != (Device{}) {
		t.Errorf("Dim %d, Numel %d, Size(-1) %d, Device %v", x.Dim(), x.Numel(), x.Size(-1), x.Device())
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
		if got := NewDevice(s); got != want {
			t.Errorf("NewDevice(%q) = %v", s, got)
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

func TestThreadsAndModes(t *testing.T) {
	defer SetNumThreads(GetNumThreads())
	for _, n := range []int32{1, 3} {
		SetNumThreads(n)
		if got := GetNumThreads(); got != n {
			t.Errorf("%d threads, want %d", got, n)
		}
	}
	if c := CPUCapability(); c == "" {
		t.Error("no CPU capability")
	}
	CPUHasBFloat16()
	SetAllowTF32(false)
	SetDeterministic(true)
	defer SetDeterministic(false)
	// Some operators have no deterministic algorithm, but training must work.
	x := Ones([]int64{2, 2}, true)
	MM(x, x).Sum().Backward()
	checkValues(t, x.Grad(), []float64{4, 4, 4, 4}, 0)
}

func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pt")
	for dtype := range dtypeSize {
		x := FromInt64s([]int64{1, 0, 1, 1, 0, 0}, 2, 3).CastTo(dtype).Transpose(0, 1)
		x.Save(path)
		if y := Load(path); y.Dtype() != dtype || !Equal(x, y) {
			t.Errorf("%s: saved %v, loaded %v", DtypeName(dtype), x, y)
		}
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("not a tensor"), "cut": good[:len(good)/2], "zeros": make([]byte, 1000),
	} {
		bad := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(bad, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := mustFail(t, func() { Load(bad) }); !strings.Contains(err.Message, bad) {
			t.Errorf("%s: the error does not name the file: %v", name, err)
		}
	}
	mustFail(t, func() { Load(t.TempDir()) })
	mustFail(t, func() { one().Save(filepath.Join(path, "under a file")) })
	if after, _ := os.ReadFile(path); !bytes.Equal(after, good) {
		t.Error("a failed Save changed a file")
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
			"Empty":         func() { Empty(shape, false) },
			"Zeros":         func() { ZerosOn(Device{}, Double, shape...) },
			"Full":          func() { Full(shape, 1, false) },
			"FromBytes":     func() { FromBytes(make([]byte, 16), Float, shape...) },
			"FromBlob":      func() { FromBlob(unsafe.Pointer(&shape[0]), Float, shape) },
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
		_, known := dtypeSize[int8(dtype)]
		for name, f := range map[string]func(){
			"Zeros":   func() { ZerosOn(Device{}, int8(dtype), 1).Free() },
			"CastTo":  func() { x.CastTo(int8(dtype)).Free() },
			"Softmax": func() { x.Softmax(0, int8(dtype)).Free() },
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
				func() { x.Squeeze(a) },
				func() { x.Unsqueeze(a) },
				func() { Flatten(x, a, b) },
				func() { x.Narrow(a, b, c) },
				func() { x.Chunk(a%100, b) },
				func() { x.Select(a, b) },
				func() { x.Index(a, b, c, d) },
				func() { x.IndexSelect(a, index) },
				func() { x.Flip(a, b) },
				func() { x.SumDims(true, a, b) },
				func() { x.MeanDims(false, a) },
				func() { x.Cumprod(a) },
				func() { x.Argmax(a) },
				func() { TopK(x, a, b, true, true) },
				func() { x.Softmax(a, int8(b)) },
				func() { x.Size(a) },
				func() { Cat([]Tensor{x, x}, a) },
				func() { Stack([]Tensor{x, x}, a) },
				func() { GroupNorm(img, a, Tensor{}, Tensor{}, 1e-5) },
				func() {
					Conv2d(img, Ones([]int64{2, 2, 1, 1}, false), Tensor{}, []int64{a}, []int64{b % 100}, []int64{c}, d)
				},
				func() { MaxPool2d(img, []int64{a}, []int64{b}, []int64{c}, []int64{d}, true) },
				func() { AvgPool2d(img, []int64{a, b}, []int64{c, d}, []int64{d, a}, a == b) },
				func() { AdaptiveAvgPool2d(img, []int64{a % 100, b % 100}) },
				func() { UpsampleNearest2d(img, a%100, b%100) },
				func() { Embedding(x.View(6, 4), index) },
				func() { NllLoss(x.View(6, 4).Narrow(0, 0, 2), index, Tensor{}, c, "mean") },
				func() { FromBytes(make([]byte, 32), Float, a, b) },
				func() { PhiloxUniform(Device{}, int8(d), PhiloxKey{FirstSample: c}, a%100, b%100) },
			} {
				_ = Try(g)
			}
		})
	})
}
