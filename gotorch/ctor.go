package gotorch

// #include "iddpm.h"
import "C"

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"unsafe"
)

// EmptyOn returns an uninitialised tensor.
func EmptyOn(d Device, dtype int8, shape ...int64) Tensor {
	mustLoad()
	p, n := cInts(shape)
	return resultOf("Empty", C.gt_empty(p, n, C.int32_t(dtype), d.c()))
}

// ZerosOn returns a tensor of zeros.
func ZerosOn(d Device, dtype int8, shape ...int64) Tensor {
	mustLoad()
	p, n := cInts(shape)
	return resultOf("Zeros", C.gt_zeros(p, n, C.int32_t(dtype), d.c()))
}

// FullOn returns a tensor with every element equal to value.
func FullOn(d Device, dtype int8, value float64, shape ...int64) Tensor {
	mustLoad()
	p, n := cInts(shape)
	return resultOf("Full", C.gt_full(p, n, C.double(value), C.int32_t(dtype), d.c()))
}

// ArangeOn returns begin, begin+step, ... below end.
func ArangeOn(d Device, dtype int8, begin, end, step float64) Tensor {
	mustLoad()
	return resultOf("Arange", C.gt_arange(C.double(begin), C.double(end), C.double(step), C.int32_t(dtype), d.c()))
}

// LinspaceOn returns steps values from begin to end, both included.
func LinspaceOn(d Device, dtype int8, begin, end float64, steps int64) Tensor {
	mustLoad()
	return resultOf("Linspace", C.gt_linspace(C.double(begin), C.double(end), C.int64_t(steps), C.int32_t(dtype), d.c()))
}

func withGrad(t Tensor, requiresGrad bool) Tensor {
	if requiresGrad {
		t.SetRequiresGrad(true)
	}
	return t
}

// Empty returns an uninitialised float32 tensor on the CPU, torch.empty.
func Empty(shape []int64, requiresGrad bool) Tensor {
	return withGrad(EmptyOn(Device{}, Float, shape...), requiresGrad)
}

// Zeros returns a float32 tensor of zeros on the CPU, torch.zeros.
func Zeros(shape []int64, requiresGrad bool) Tensor {
	return withGrad(ZerosOn(Device{}, Float, shape...), requiresGrad)
}

// Ones returns a float32 tensor of ones on the CPU, torch.ones.
func Ones(shape []int64, requiresGrad bool) Tensor { return Full(shape, 1, requiresGrad) }

// Full returns a float32 tensor on the CPU with every element equal to value,
// torch.full.
func Full(shape []int64, value float32, requiresGrad bool) Tensor {
	return withGrad(FullOn(Device{}, Float, float64(value), shape...), requiresGrad)
}

// Eye returns an [n, m] float32 tensor with ones on the diagonal, torch.eye.
func Eye(n, m int64, requiresGrad bool) Tensor {
	mustLoad()
	return withGrad(resultOf("Eye", C.gt_eye(C.int64_t(n), C.int64_t(m), C.int32_t(Float), Device{}.c())), requiresGrad)
}

// Arange returns begin, begin+step, ... below end as float32, torch.arange.
func Arange(begin, end, step float32, requiresGrad bool) Tensor {
	return withGrad(ArangeOn(Device{}, Float, float64(begin), float64(end), float64(step)), requiresGrad)
}

// Linspace returns steps float32 values from begin to end, torch.linspace.
func Linspace(begin, end float32, steps int64, requiresGrad bool) Tensor {
	return withGrad(LinspaceOn(Device{}, Float, float64(begin), float64(end), steps), requiresGrad)
}

// Logspace returns steps float32 values from base^begin to base^end, evenly
// spaced in the exponent, torch.logspace.
func Logspace(begin, end float32, steps int64, base float64, requiresGrad bool) Tensor {
	mustLoad()
	r := C.gt_logspace(C.double(begin), C.double(end), C.int64_t(steps), C.double(base), C.int32_t(Float), Device{}.c())
	return withGrad(resultOf("Logspace", r), requiresGrad)
}

// Rand returns float32 values drawn from U[0, 1) by libtorch's global
// generator (see [ManualSeed]), torch.rand.
func Rand(shape []int64, requireGrad bool) Tensor {
	t := Empty(shape, false)
	t.UniformI(0, 1, nil)
	return withGrad(t, requireGrad)
}

// RandN returns float32 values drawn from N(0, 1) by libtorch's global
// generator (see [ManualSeed]), torch.randn.
func RandN(shape []int64, requiresGrad bool) Tensor {
	t := Empty(shape, false)
	t.NormalI(0, 1, nil)
	return withGrad(t, requiresGrad)
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
func FromBytes(data []byte, dtype int8, shape ...int64) Tensor {
	mustLoad()
	p, n := cInts(shape)
	return resultOf("FromBytes", C.gt_from_bytes(unsafe.Pointer(unsafe.SliceData(data)), C.int64_t(len(data)), p, n, C.int32_t(dtype)))
}

// FromBlob copies a tensor's elements from memory, in row-major order.
func FromBlob(data unsafe.Pointer, dtype int8, sizes []int64) Tensor {
	size, ok := dtypeSize[dtype]
	if !ok {
		panic(&Error{Op: "FromBlob", Message: fmt.Sprintf("no element size is known for %s", DtypeName(dtype))})
	}
	for _, s := range sizes {
		if s < 0 || s > 0 && size > math.MaxInt64/s {
			panic(&Error{Op: "FromBlob", Message: fmt.Sprintf("a tensor of shape %v has too many bytes, or a negative size", sizes)})
		}
		size *= s
	}
	if data == nil && size > 0 {
		panic(&Error{Op: "FromBlob", Message: "the data is nil"})
	}
	return FromBytes(unsafe.Slice((*byte)(data), size), dtype, sizes...)
}

var dtypeSize = map[int8]int64{Byte: 1, Char: 1, Bool: 1, Short: 2, Half: 2, BFloat16: 2, Int: 4, Float: 4, Long: 8, Double: 8}

func fromSlice[T any](v []T, dtype int8, shape []int64) Tensor {
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

var kindDtype = map[reflect.Kind]int8{
	reflect.Uint8: Byte, reflect.Int8: Char, reflect.Int16: Short, reflect.Int32: Int, reflect.Int64: Long,
	reflect.Float32: Float, reflect.Float64: Double, reflect.Bool: Bool, reflect.Uint16: Half,
}

// NewTensor makes a tensor from a slice, or a slice of slices, of Go numbers;
// uint16 holds the bits of float16. The option {"dtype": int8} converts.
func NewTensor(data interface{}, options ...map[string]interface{}) Tensor {
	flat, shape, err := flatten(reflect.ValueOf(data))
	if err != nil {
		panic(&Error{Op: "NewTensor", Message: err.Error()})
	}
	dtype, ok := kindDtype[flat.Type().Elem().Kind()]
	if !ok {
		panic(&Error{Op: "NewTensor", Message: fmt.Sprintf("no dtype for elements of type %s", flat.Type().Elem())})
	}
	t := FromBlob(flat.UnsafePointer(), dtype, shape)
	runtime.KeepAlive(data)
	for _, o := range options {
		if d, ok := o["dtype"].(int8); ok {
			t = t.CastTo(d)
		}
	}
	return t
}

// flatten concatenates the innermost slices of v and returns the shape.
func flatten(v reflect.Value) (flat reflect.Value, shape []int64, err error) {
	if !v.IsValid() {
		return flat, nil, fmt.Errorf("needs a slice, not nil")
	}
	if v.Kind() != reflect.Slice {
		return flat, nil, fmt.Errorf("needs a slice, not %s", v.Type())
	}
	if v.Type().Elem().Kind() != reflect.Slice {
		return v, []int64{int64(v.Len())}, nil
	}
	var inner []int64
	for i := range v.Len() {
		part, s, err := flatten(v.Index(i))
		if err != nil {
			return flat, nil, err
		}
		if i == 0 {
			flat, inner = reflect.MakeSlice(part.Type(), 0, v.Len()*part.Len()), s
		} else if fmt.Sprint(s) != fmt.Sprint(inner) {
			return flat, nil, fmt.Errorf("row %d has shape %v, row 0 has %v", i, s, inner)
		}
		flat = reflect.AppendSlice(flat, part)
	}
	if !flat.IsValid() {
		return flat, nil, fmt.Errorf("an empty slice of slices has no shape")
	}
	return flat, append([]int64{int64(v.Len())}, inner...), nil
}
