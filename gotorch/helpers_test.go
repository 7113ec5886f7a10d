package gotorch

import (
	"math"
	"slices"
	"testing"
	"time"
)

// close64 reports whether a and b agree within the tolerance, relative to b if b
// is large. NaN equals NaN.
func close64(a, b, tolerance float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) || math.IsInf(b, 0) {
		return a == b || math.IsNaN(a) && math.IsNaN(b)
	}
	return math.Abs(a-b) <= tolerance*max(1, math.Abs(b))
}

// checkValues compares a tensor's elements, in row-major order, with want.
func checkValues(t *testing.T, got Tensor, want []float64, tolerance float64) {
	t.Helper()
	values := got.Float64s()
	if len(values) != len(want) {
		t.Fatalf("%d elements %v, want %d: %v", len(values), values, len(want), want)
	}
	for i, v := range values {
		if !close64(v, want[i], tolerance) {
			t.Fatalf("element %d is %v, want %v\ngot  %v\nwant %v", i, v, want[i], values, want)
		}
	}
}

func checkShape(t *testing.T, got Tensor, want ...int64) {
	t.Helper()
	if s := got.Shape(); !slices.Equal(s, want) {
		t.Fatalf("shape %v, want %v", s, want)
	}
}

// checkLive fails the test if it ends with more live tensors than it began with,
// after garbage collection. It may end with fewer, since the collector may free
// tensors of an earlier test.
func checkLive(t *testing.T) {
	t.Helper()
	GC()
	before := LiveTensors()
	t.Cleanup(func() {
		deadline := time.Now().Add(10 * time.Second)
		for LiveTensors() > before && time.Now().Before(deadline) {
			GC()
		}
		if after := LiveTensors(); after > before || after < 0 {
			t.Errorf("%d tensors live, before the test %d", after, before)
		}
	})
}

// mustFail returns the error that f panics with.
func mustFail(t *testing.T, f func()) *Error {
	t.Helper()
	err := Try(f)
	if err == nil {
		t.Fatal("there was no error")
	}
	return err.(*Error)
}

// zeros returns a float32 tensor of zeros.
func zeros(shape ...int64) Tensor { return ZerosOn(Device{}, Float, shape...) }

// ones returns a float32 tensor of ones.
func ones(shape ...int64) Tensor { return full(1, shape...) }

// full returns a float32 tensor of one value.
func full(value float64, shape ...int64) Tensor { return FullOn(Device{}, Float, value, shape...) }

// withGrad makes x require a gradient.
func withGrad(x Tensor) Tensor {
	x.SetRequiresGrad(true)
	return x
}

// dtypeSizes are the bytes of an element of each dtype.
var dtypeSizes = map[DType]int64{Byte: 1, Char: 1, Bool: 1, Short: 2, Half: 2, BFloat16: 2, Int: 4, Float: 4, Long: 8, Double: 8}
