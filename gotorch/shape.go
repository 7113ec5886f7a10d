package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

// View returns t's elements under another shape, without a copy; -1 is inferred from
// the other sizes.
func (t Tensor) View(shape ...int64) Tensor {
	p, n := cInts(shape)
	r := C.gt_view(t.defined("View"), p, n)
	runtime.KeepAlive(t.owner)
	return resultOf("View", r)
}

// Reshape is View if possible, else a copy.
func (t Tensor) Reshape(shape ...int64) Tensor {
	p, n := cInts(shape)
	r := C.gt_reshape(t.defined("Reshape"), p, n)
	runtime.KeepAlive(t.owner)
	return resultOf("Reshape", r)
}

// Permute reorders the dimensions.
func (t Tensor) Permute(dims []int64) Tensor {
	p, n := cInts(dims)
	r := C.gt_permute(t.defined("Permute"), p, n)
	runtime.KeepAlive(t.owner)
	return resultOf("Permute", r)
}

// Transpose swaps two dimensions.
func (t Tensor) Transpose(dim0, dim1 int64) Tensor {
	r := C.gt_transpose(t.defined("Transpose"), C.int64_t(dim0), C.int64_t(dim1))
	runtime.KeepAlive(t.owner)
	return resultOf("Transpose", r)
}

// Unsqueeze inserts a dimension of size 1 before dim.
func (t Tensor) Unsqueeze(dim int64) Tensor {
	r := C.gt_unsqueeze(t.defined("Unsqueeze"), C.int64_t(dim))
	runtime.KeepAlive(t.owner)
	return resultOf("Unsqueeze", r)
}

// Flatten joins the dimensions from startDim to endDim.
func Flatten(a Tensor, startDim, endDim int64) Tensor {
	r := C.gt_flatten(a.defined("Flatten"), C.int64_t(startDim), C.int64_t(endDim))
	runtime.KeepAlive(a.owner)
	return resultOf("Flatten", r)
}

// Expand repeats dimensions of size 1, without a copy.
func (t Tensor) Expand(shape ...int64) Tensor {
	p, n := cInts(shape)
	r := C.gt_expand(t.defined("Expand"), p, n)
	runtime.KeepAlive(t.owner)
	return resultOf("Expand", r)
}

// Narrow returns length entries along dim from start, without a copy.
func (t Tensor) Narrow(dim, start, length int64) Tensor {
	r := C.gt_narrow(t.defined("Narrow"), C.int64_t(dim), C.int64_t(start), C.int64_t(length))
	runtime.KeepAlive(t.owner)
	return resultOf("Narrow", r)
}

// Chunk splits t into n equal parts along dim, without a copy. The size of dim
// must be a multiple of n.
func (t Tensor) Chunk(n, dim int64) []Tensor {
	size := t.Size(dim)
	if n <= 0 || size%n != 0 {
		panic(&Error{Op: "Chunk", Message: "the dimension is not divisible into equal parts"})
	}
	parts := make([]Tensor, n)
	for i := range parts {
		parts[i] = t.Narrow(dim, int64(i)*size/n, size/n)
	}
	return parts
}

// Select returns entry index of dim, without that dimension.
func (t Tensor) Select(dim, index int64) Tensor {
	r := C.gt_select(t.defined("Select"), C.int64_t(dim), C.int64_t(index))
	runtime.KeepAlive(t.owner)
	return resultOf("Select", r)
}

// IndexSelect gathers the entries of dim at the indices in index, an int64 vector.
func (t Tensor) IndexSelect(dim int64, index Tensor) Tensor {
	return binary("IndexSelect", t, index, func(a, b C.gt_tensor) C.gt_result {
		return C.gt_index_select(a, C.int64_t(dim), b)
	})
}

// Cat joins tensors along dim.
func Cat(tensors []Tensor, dim int64) Tensor {
	p, n := cList("Cat", tensors)
	r := C.gt_cat(p, n, C.int64_t(dim))
	runtime.KeepAlive(tensors)
	return resultOf("Cat", r)
}

// Stack joins tensors along a new dimension dim.
func Stack(tensors []Tensor, dim int64) Tensor {
	p, n := cList("Stack", tensors)
	r := C.gt_stack(p, n, C.int64_t(dim))
	runtime.KeepAlive(tensors)
	return resultOf("Stack", r)
}
