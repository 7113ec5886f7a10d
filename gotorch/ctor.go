package gotorch

// #include "iddpm.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// EmptyOn returns an uninitialised tensor.
func EmptyOn(d Device, dtype DType, shape ...int64) Tensor {
	mustLoad()
	p, n := cInts(shape)
	return resultOf("Empty", C.gt_empty(p, n, C.int32_t(dtype), d.c()))
}

// ZerosOn returns a tensor of zeros.
func ZerosOn(d Device, dtype DType, shape ...int64) Tensor {
	mustLoad()
	p, n := cInts(shape)
	return resultOf("Zeros", C.gt_zeros(p, n, C.int32_t(dtype), d.c()))
}

// FullOn returns a tensor with every element equal to value.
func FullOn(d Device, dtype DType, value float64, shape ...int64) Tensor {
	mustLoad()
	p, n := cInts(shape)
	return resultOf("Full", C.gt_full(p, n, C.double(value), C.int32_t(dtype), d.c()))
}

// ArangeOn returns begin, begin+step, ... below end.
func ArangeOn(d Device, dtype DType, begin, end, step float64) Tensor {
	mustLoad()
	return resultOf("Arange", C.gt_arange(C.double(begin), C.double(end), C.double(step), C.int32_t(dtype), d.c()))
}

// LinspaceOn returns steps values from begin to end, both included.
func LinspaceOn(d Device, dtype DType, begin, end float64, steps int64) Tensor {
	mustLoad()
	return resultOf("Linspace", C.gt_linspace(C.double(begin), C.double(end), C.int64_t(steps), C.int32_t(dtype), d.c()))
}

// EmptyLike returns an uninitialised tensor of t's shape, dtype and device.
func EmptyLike(t Tensor) Tensor {
	r := C.gt_empty_like(t.defined("EmptyLike"))
	runtime.KeepAlive(t.owner)
	return resultOf("EmptyLike", r)
}

// ZerosLike returns zeros of t's shape, dtype and device.
func ZerosLike(t Tensor) Tensor {
	r := C.gt_zeros_like(t.defined("ZerosLike"))
	runtime.KeepAlive(t.owner)
	return resultOf("ZerosLike", r)
}

// FromBytes copies data to a tensor on the CPU. The elements are in row-major
// order and the machine's byte order.
func FromBytes(data []byte, dtype DType, shape ...int64) Tensor {
	mustLoad()
	p, n := cInts(shape)
	return resultOf("FromBytes", C.gt_from_bytes(unsafe.Pointer(unsafe.SliceData(data)), C.int64_t(len(data)), p, n, C.int32_t(dtype)))
}

func fromSlice[T any](v []T, dtype DType, shape []int64) Tensor {
	var zero T
	if len(shape) == 0 {
		shape = []int64{int64(len(v))}
	}
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(zero)))
	return FromBytes(bytes, dtype, shape...)
}

// FromFloat32s copies values into a tensor; without a shape it is a vector.
func FromFloat32s(v []float32, shape ...int64) Tensor { return fromSlice(v, Float, shape) }

// FromFloat64s copies values into a tensor; without a shape it is a vector.
func FromFloat64s(v []float64, shape ...int64) Tensor { return fromSlice(v, Double, shape) }

// FromInt64s copies values into a tensor; without a shape it is a vector.
func FromInt64s(v []int64, shape ...int64) Tensor { return fromSlice(v, Long, shape) }
