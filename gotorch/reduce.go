package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

// SumDims sums over dims, or over all elements if there are none.
func (t Tensor) SumDims(keepDim bool, dims ...int64) Tensor {
	p, n := cInts(dims)
	r := C.gt_sum(t.defined("Sum"), p, n, cBool(keepDim))
	runtime.KeepAlive(t.owner)
	return resultOf("Sum", r)
}

// MeanDims averages over dims, or over all elements if there are none.
func (t Tensor) MeanDims(keepDim bool, dims ...int64) Tensor {
	p, n := cInts(dims)
	r := C.gt_mean(t.defined("Mean"), p, n, cBool(keepDim))
	runtime.KeepAlive(t.owner)
	return resultOf("Mean", r)
}

// Sum sums all elements.
func (t Tensor) Sum() Tensor { return t.SumDims(false) }

// Mean averages all elements.
func (t Tensor) Mean() Tensor { return t.MeanDims(false) }

// Max returns the largest element.
func (t Tensor) Max() Tensor {
	r := C.gt_max(t.defined("Max"))
	runtime.KeepAlive(t.owner)
	return resultOf("Max", r)
}

// Cumprod returns the running product along dim.
func (t Tensor) Cumprod(dim int64) Tensor {
	r := C.gt_cumprod(t.defined("Cumprod"), C.int64_t(dim))
	runtime.KeepAlive(t.owner)
	return resultOf("Cumprod", r)
}

// TopK returns the k largest (or smallest) elements along dim and their
// indices.
func TopK(a Tensor, k, dim int64, largest, sorted bool) (Tensor, Tensor) {
	p := C.gt_topk(a.defined("TopK"), C.int64_t(k), C.int64_t(dim), cBool(largest), cBool(sorted))
	runtime.KeepAlive(a.owner)
	check("TopK", p.error)
	return own(p.first), own(p.second)
}

// Equal reports whether a and b have the same shape and elements.
func Equal(a, b Tensor) bool {
	var y C.int32_t
	check("Equal", C.gt_equal(a.defined("Equal"), b.defined("Equal"), &y))
	runtime.KeepAlive(a.owner)
	runtime.KeepAlive(b.owner)
	return y != 0
}
