// Package strided copies tensors that are not in C order, such as Fortran arrays and
// transposed or sliced PyTorch tensors.
package strided

import "math"

// Bytes returns product(shape) * itemSize, or false if a dimension is negative or the
// product exceeds an int64. If a dimension is zero, the product of the others must
// still fit an int64, as in libtorch.
func Bytes(shape []int64, itemSize int64) (int64, bool) {
	total, empty := itemSize, false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, false
		case d == 0:
			empty = true
		case total > math.MaxInt64/d:
			return 0, false
		default:
			total *= d
		}
	}
	if empty {
		return 0, true
	}
	return total, true
}

// Contiguous returns libtorch's strides, in elements, of a tensor in C order: a
// dimension of size zero counts as one. Bytes must have accepted the shape.
func Contiguous(shape []int64) []int64 {
	strides := make([]int64, len(shape))
	step := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = step
		step *= max(shape[i], 1)
	}
	return strides
}

// Extent returns the number of elements of storage that a tensor spans from its first
// element: 1 + the sum of (shape[i]-1) * strides[i], or 0 if the tensor is empty. It
// returns false for a negative stride, which PyTorch does not have, or if the sum
// exceeds an int64. Bytes must have accepted the shape.
func Extent(shape, strides []int64) (int64, bool) {
	extent, empty := int64(1), false
	for i, d := range shape {
		if strides[i] < 0 {
			return 0, false
		}
		if d == 0 {
			empty = true
			continue
		}
		if d > 1 && strides[i] > (math.MaxInt64-extent)/(d-1) {
			return 0, false
		}
		extent += (d - 1) * strides[i]
	}
	if empty {
		return 0, true
	}
	return extent, true
}

// Gather copies the elements of src that shape and strides (in elements) select
// into dst in C order. dst holds product(shape) elements, and src at least
// Extent(shape, strides); an element has itemSize bytes.
func Gather(dst, src []byte, itemSize int64, shape, strides []int64) {
	if len(shape) == 0 {
		copy(dst, src[:itemSize])
		return
	}
	if shape[0] == 0 {
		return
	}
	step := strides[0] * itemSize
	if len(shape) == 1 {
		gatherRow(dst, src, itemSize, shape[0], step)
		return
	}
	part := int64(len(dst)) / shape[0]
	if part == 0 {
		return
	}
	for i := range shape[0] {
		Gather(dst[i*part:(i+1)*part], src[i*step:], itemSize, shape[1:], strides[1:])
	}
}

func gatherRow(dst, src []byte, itemSize, n, step int64) {
	if step == itemSize {
		copy(dst, src[:n*itemSize])
		return
	}
	for i := range n {
		copy(dst[i*itemSize:(i+1)*itemSize], src[i*step:])
	}
}
