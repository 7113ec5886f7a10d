package gotorch

// #include "iddpm.h"
import "C"

import (
	"fmt"
	"reflect"
	"runtime"
)

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

// Sum sums all elements, or those along {"dim": int, "keepDim": bool}.
func (t Tensor) Sum(opt ...map[string]interface{}) Tensor {
	for _, o := range opt {
		if dim, ok := o["dim"]; ok {
			keep, _ := o["keepDim"].(bool)
			return t.SumDims(keep, dimOf("Sum", dim))
		}
	}
	return t.SumDims(false)
}

// dimOf returns the dimension of an option of any integer type.
func dimOf(op string, option interface{}) int64 {
	v := reflect.ValueOf(option)
	if !v.CanInt() {
		panic(&Error{Op: op, Message: fmt.Sprintf("dim must be an integer, not %T", option)})
	}
	return v.Int()
}

// Sum sums all elements, or those along {"dim": int, "keepDim": bool}.
func Sum(a Tensor, opt ...map[string]interface{}) Tensor { return a.Sum(opt...) }

// Mean averages all elements.
func (t Tensor) Mean() Tensor { return t.MeanDims(false) }

// Mean averages all elements.
func Mean(t Tensor) Tensor { return t.Mean() }

// Norm returns the 2-norm over all elements.
func (t Tensor) Norm() Tensor {
	r := C.gt_norm(t.defined("Norm"))
	runtime.KeepAlive(t.owner)
	return resultOf("Norm", r)
}

// Max returns the largest element.
func (t Tensor) Max() Tensor {
	r := C.gt_max(t.defined("Max"))
	runtime.KeepAlive(t.owner)
	return resultOf("Max", r)
}

// Min returns the smallest element.
func (t Tensor) Min() Tensor {
	r := C.gt_min(t.defined("Min"))
	runtime.KeepAlive(t.owner)
	return resultOf("Min", r)
}

// All reports, as a Bool tensor of one element, whether every element is true.
func (t Tensor) All() Tensor {
	r := C.gt_all(t.defined("All"))
	runtime.KeepAlive(t.owner)
	return resultOf("All", r)
}

// Cumprod returns the running product along dim.
func (t Tensor) Cumprod(dim int64) Tensor {
	r := C.gt_cumprod(t.defined("Cumprod"), C.int64_t(dim))
	runtime.KeepAlive(t.owner)
	return resultOf("Cumprod", r)
}

// Argmax returns the index of the largest element, of all or along
// (dim int, keepdim bool).
func (t Tensor) Argmax(opts ...interface{}) Tensor {
	has, dim, keep := argOptions("Argmax", opts)
	r := C.gt_argmax(t.defined("Argmax"), has, dim, keep)
	runtime.KeepAlive(t.owner)
	return resultOf("Argmax", r)
}

// Argmin returns the index of the smallest element, of all or along
// (dim int, keepdim bool).
func (t Tensor) Argmin(opts ...interface{}) Tensor {
	has, dim, keep := argOptions("Argmin", opts)
	r := C.gt_argmin(t.defined("Argmin"), has, dim, keep)
	runtime.KeepAlive(t.owner)
	return resultOf("Argmin", r)
}

func argOptions(op string, opts []interface{}) (has C.int32_t, dim C.int64_t, keep C.int32_t) {
	if len(opts) > 0 {
		has, dim = 1, C.int64_t(dimOf(op, opts[0]))
	}
	if len(opts) > 1 {
		k, ok := opts[1].(bool)
		if !ok {
			panic(&Error{Op: op, Message: fmt.Sprintf("keepdim must be a bool, not %T", opts[1])})
		}
		keep = cBool(k)
	}
	return has, dim, keep
}

// TopK returns the k largest (or smallest) elements along dim and their
// indices.
func TopK(a Tensor, k, dim int64, largest, sorted bool) (Tensor, Tensor) {
	p := C.gt_topk(a.defined("TopK"), C.int64_t(k), C.int64_t(dim), cBool(largest), cBool(sorted))
	runtime.KeepAlive(a.owner)
	check("TopK", p.error)
	return own(p.first), own(p.second)
}

// AllClose reports whether a and b agree within torch's default tolerances
// (relative 1e-5, absolute 1e-8).
func AllClose(a, b Tensor) bool {
	var y C.int32_t
	check("AllClose", C.gt_allclose(a.defined("AllClose"), b.defined("AllClose"), 1e-5, 1e-8, &y))
	runtime.KeepAlive(a.owner)
	runtime.KeepAlive(b.owner)
	return y != 0
}

// Equal reports whether a and b have the same shape and elements.
func Equal(a, b Tensor) bool {
	var y C.int32_t
	check("Equal", C.gt_equal(a.defined("Equal"), b.defined("Equal"), &y))
	runtime.KeepAlive(a.owner)
	runtime.KeepAlive(b.owner)
	return y != 0
}
