package gotorch

// #include <stdlib.h>
// #include "iddpm.h"
// #include "loader.h"
import "C"

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Tensor is a handle of a libtorch tensor. It is a small value: copies refer to the
// same tensor. The zero Tensor is undefined; it stands for an optional argument that
// is left out.
type Tensor struct {
	slot       C.gt_tensor
	generation uint64
	owner      *owner  // nil if a scope owns the tensor
	thread     uintptr // the OS thread of that scope
}

// owner frees an unscoped tensor when the last copy of its handle is unreachable. An
// operator keeps it alive until the C call has returned.
type owner struct{ cleanup runtime.Cleanup }

// own turns a new C handle into a Tensor.
func own(slot C.gt_tensor) Tensor {
	if slot == nil {
		return Tensor{}
	}
	t := Tensor{slot: slot, generation: uint64(slot.generation)}
	if slot.scoped != 0 {
		t.thread = uintptr(C.gt_thread())
		return t
	}
	t.owner = new(owner)
	t.owner.cleanup = runtime.AddCleanup(t.owner, Tensor.freeUnscoped, Tensor{slot: slot, generation: t.generation})
	return t
}

// freeUnscoped cannot fail: t belongs to no scope.
func (t Tensor) freeUnscoped() { C.gt_free(t.slot, C.uint64_t(t.generation)) }

// resultOf turns the result of a C call into a Tensor, or panics with its error.
func resultOf(op string, r C.gt_result) Tensor {
	check(op, r.error)
	return own(r.value)
}

func (t Tensor) alive() bool {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&t.slot.generation))) == t.generation
}

// optional returns the handle for a C call, nil for the undefined tensor. The caller
// keeps t.owner alive until that call has returned.
func (t Tensor) optional(op string) C.gt_tensor {
	if t.slot == nil {
		return nil
	}
	if !t.alive() {
		panic(&Error{Op: op, Message: "the tensor is freed: by Free, or because its scope has ended (see MoveOut)"})
	}
	t.checkThread(op)
	return t.slot
}

// checkThread panics if t belongs to a scope of another OS thread: that thread could end
// the scope during the operator. On the scope's own thread nothing else can free t, so
// t is safe to use once alive has reported true.
func (t Tensor) checkThread(op string) {
	if t.owner == nil && t.thread != uintptr(C.gt_thread()) {
		panic(&Error{Op: op, Message: "the tensor belongs to a scope of another thread: use it on the goroutine of that Scope, or share an unscoped tensor (see Unscoped)"})
	}
}

// defined is optional for an operand that must be defined.
func (t Tensor) defined(op string) C.gt_tensor {
	if t.slot == nil {
		panic(&Error{Op: op, Message: "the tensor is undefined"})
	}
	return t.optional(op)
}

// cList turns tensors into an array for a C call.
func cList(op string, tensors []Tensor) (*C.gt_tensor, C.int64_t) {
	if len(tensors) == 0 {
		mustLoad() // no tensor has loaded the library
		return nil, 0
	}
	list := make([]C.gt_tensor, len(tensors))
	for i, t := range tensors {
		list[i] = t.defined(op)
	}
	return &list[0], C.int64_t(len(list))
}

// cOptionalList is cList for tensors that may be undefined.
func cOptionalList(op string, tensors []Tensor) *C.gt_tensor {
	list := make([]C.gt_tensor, len(tensors))
	for i, t := range tensors {
		list[i] = t.optional(op)
	}
	return unsafe.SliceData(list)
}

// cInts passes a slice of int64 to C without a copy.
func cInts(v []int64) (*C.int64_t, C.int64_t) {
	return (*C.int64_t)(unsafe.Pointer(unsafe.SliceData(v))), C.int64_t(len(v))
}

func cBool(b bool) C.int32_t {
	if b {
		return 1
	}
	return 0
}

// Defined reports whether t is not the undefined tensor.
func (t Tensor) Defined() bool { return t.slot != nil }

// Free frees the tensor now. Freeing it twice, or the undefined tensor, does
// nothing. A scoped tensor must be freed on the goroutine of its scope.
func (t Tensor) Free() {
	if t.slot == nil || !t.alive() {
		return
	}
	t.checkThread("Free")
	if t.owner != nil {
		t.owner.cleanup.Stop()
	}
	check("Free", C.gt_free(t.slot, C.uint64_t(t.generation)))
	runtime.KeepAlive(t.owner)
}

// Numel returns the number of elements.
func (t Tensor) Numel() int64 {
	n := C.gt_numel(t.defined("Numel"))
	runtime.KeepAlive(t.owner)
	return int64(n)
}

// Shape returns the size of every dimension.
func (t Tensor) Shape() []int64 {
	shape := make([]int64, C.gt_dim(t.defined("Shape")))
	p, _ := cInts(shape)
	C.gt_shape(t.defined("Shape"), p)
	runtime.KeepAlive(t.owner)
	return shape
}

// Size returns the size of one dimension; a negative one counts from the end.
func (t Tensor) Size(dim int64) int64 {
	shape := t.Shape()
	i := dim
	if i < 0 {
		i += int64(len(shape))
	}
	if i < 0 || i >= int64(len(shape)) {
		panic(&Error{Op: "Size", Message: fmt.Sprintf("dimension %d is out of range for the shape %v", dim, shape)})
	}
	return shape[i]
}

// Dtype returns the type of the elements.
func (t Tensor) Dtype() DType {
	d := C.gt_dtype(t.defined("Dtype"))
	runtime.KeepAlive(t.owner)
	return DType(d)
}

// Device returns the device of the tensor's memory.
func (t Tensor) Device() Device {
	d := C.gt_tensor_device(t.defined("Device"))
	runtime.KeepAlive(t.owner)
	return Device{Type: DeviceType(d._type), Index: int(d.index)}
}

// IsChannelsLast reports whether an [N, C, H, W] tensor is in channels-last memory,
// [N, H, W, C].
func (t Tensor) IsChannelsLast() bool {
	y := C.gt_is_channels_last(t.defined("IsChannelsLast"))
	runtime.KeepAlive(t.owner)
	return y != 0
}

// Float64 returns the element of a one-element tensor as a float64. It waits for a GPU.
func (t Tensor) Float64() float64 {
	var v C.double
	check("Float64", C.gt_item(t.defined("Float64"), &v))
	runtime.KeepAlive(t.owner)
	return float64(v)
}

// String formats t as libtorch prints it.
func (t Tensor) String() string {
	if t.slot == nil {
		return "[ Tensor (undefined) ]"
	}
	var s *C.char
	check("String", C.gt_string(t.defined("String"), &s))
	runtime.KeepAlive(t.owner)
	defer C.free(unsafe.Pointer(s))
	return C.GoString(s)
}

// Bytes copies the elements, in row-major order and the machine's byte order,
// to host memory.
func (t Tensor) Bytes() []byte {
	out := make([]byte, t.Numel()*int64(C.gt_element_size(t.defined("Bytes"))))
	check("Bytes", C.gt_to_bytes(t.defined("Bytes"), unsafe.Pointer(unsafe.SliceData(out)), C.int64_t(len(out))))
	runtime.KeepAlive(t.owner)
	return out
}

// Float32s copies the elements to a slice, in row-major order.
func (t Tensor) Float32s() []float32 { return values[float32](t, Float) }

// Float64s copies the elements to a slice, in row-major order.
func (t Tensor) Float64s() []float64 { return values[float64](t, Double) }

// Int64s copies the elements to a slice, in row-major order.
func (t Tensor) Int64s() []int64 { return values[int64](t, Long) }

// Uint8s copies the elements to a slice, in row-major order.
func (t Tensor) Uint8s() []uint8 { return values[uint8](t, Byte) }

// values copies the elements, converted to dtype, which is T's.
func values[T any](t Tensor, dtype DType) []T {
	converted := t.CastTo(dtype)
	defer converted.Free()
	out := make([]T, converted.Numel())
	var zero T
	size := C.int64_t(len(out) * int(unsafe.Sizeof(zero)))
	check("values", C.gt_to_bytes(converted.defined("values"), unsafe.Pointer(unsafe.SliceData(out)), size))
	runtime.KeepAlive(converted.owner)
	return out
}
