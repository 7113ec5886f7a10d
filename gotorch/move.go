package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

// To moves t to a device and, if given, a dtype. It returns t itself if both are the same
// already.
func (t Tensor) To(device Device, dtype ...DType) Tensor {
	to := t.Dtype()
	if len(dtype) > 0 {
		to = dtype[0]
	}
	r := C.gt_to(t.defined("To"), device.c(), C.int32_t(to), 0)
	runtime.KeepAlive(t.owner)
	return resultOf("To", r)
}

// CUDA moves t to a GPU. With nonBlocking, a copy from pinned memory is
// asynchronous to the host.
func (t Tensor) CUDA(device Device, nonBlocking bool) Tensor {
	r := C.gt_to(t.defined("CUDA"), device.c(), C.int32_t(t.Dtype()), cBool(nonBlocking))
	runtime.KeepAlive(t.owner)
	return resultOf("CUDA", r)
}

// CastTo converts the elements to dtype.
func (t Tensor) CastTo(dtype DType) Tensor {
	r := C.gt_cast(t.defined("CastTo"), C.int32_t(dtype))
	runtime.KeepAlive(t.owner)
	return resultOf("CastTo", r)
}

// Contiguous returns t with its elements in row-major order.
func (t Tensor) Contiguous() Tensor {
	r := C.gt_contiguous(t.defined("Contiguous"), 0)
	runtime.KeepAlive(t.owner)
	return resultOf("Contiguous", r)
}

// ChannelsLast returns an [N, C, H, W] tensor in channels-last memory, [N, H, W, C].
func (t Tensor) ChannelsLast() Tensor {
	r := C.gt_contiguous(t.defined("ChannelsLast"), 1)
	runtime.KeepAlive(t.owner)
	return resultOf("ChannelsLast", r)
}

// Clone copies t.
func (t Tensor) Clone() Tensor {
	r := C.gt_clone(t.defined("Clone"))
	runtime.KeepAlive(t.owner)
	return resultOf("Clone", r)
}

// PinMemory copies t to pinned (page-locked) host memory, from which copies to a
// GPU can be asynchronous.
func (t Tensor) PinMemory() Tensor {
	slot := t.defined("PinMemory")
	if err := LoadCUDA(); err != nil {
		panic(&Error{Op: "PinMemory", Message: err.Error()})
	}
	r := C.gt_pin_memory(slot)
	runtime.KeepAlive(t.owner)
	return resultOf("PinMemory", r)
}

// CopyI overwrites t's elements with src's, converting dtype and device. With
// nonBlocking, a copy between a GPU and pinned memory is asynchronous to the host.
func (t Tensor) CopyI(src Tensor, nonBlocking ...bool) {
	async := len(nonBlocking) > 0 && nonBlocking[0]
	check("CopyI", C.gt_copy_(t.defined("CopyI"), src.defined("CopyI"), cBool(async)))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(src.owner)
}
