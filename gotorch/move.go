package gotorch

// #include <stdlib.h>
// #include "iddpm.h"
import "C"

import (
	"io"
	"os"
	"runtime"
	"unsafe"

	"github.com/wangkuiyi/gotorch/internal/atomicfile"
)

// To moves t to a device and, if given, a dtype.
func (t Tensor) To(device Device, dtype ...int8) Tensor {
	d := t.Dtype()
	if len(dtype) > 0 {
		d = dtype[0]
	}
	return To(t, device, d)
}

// To moves a to a device and dtype. It returns a itself if both are the same already.
func To(a Tensor, device Device, dtype int8) Tensor {
	r := C.gt_to(a.defined("To"), device.c(), C.int32_t(dtype), 0)
	runtime.KeepAlive(a.owner)
	return resultOf("To", r)
}

// CUDA moves t to a GPU. With nonBlocking, a copy from pinned memory is
// asynchronous to the host.
func (t Tensor) CUDA(device Device, nonBlocking bool) Tensor {
	r := C.gt_to(t.defined("CUDA"), device.c(), C.int32_t(t.Dtype()), cBool(nonBlocking))
	runtime.KeepAlive(t.owner)
	return resultOf("CUDA", r)
}

// CopyTo moves t to a device.
func (t Tensor) CopyTo(device Device) Tensor { return t.To(device) }

// CastTo converts the elements to dtype.
func (t Tensor) CastTo(dtype int8) Tensor {
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

// SetData makes t share b's memory, as Tensor.data = b does in PyTorch.
func (t Tensor) SetData(b Tensor) {
	check("SetData", C.gt_set_data(t.defined("SetData"), b.defined("SetData")))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(b.owner)
}

// Save writes t to a file that [Load] reads. Package pt writes files that Python's
// torch.load opens by default. After an error an existing file is unchanged.
func (t Tensor) Save(path string) {
	var data unsafe.Pointer
	var size C.int64_t
	check("Save", C.gt_pickle(t.defined("Save"), &data, &size))
	runtime.KeepAlive(t.owner)
	defer C.free(data)
	err := atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(unsafe.Slice((*byte)(data), size))
		return err
	})
	if err != nil {
		panic(&Error{Op: "Save", Message: err.Error()})
	}
}

// Load reads a tensor that [Tensor.Save] wrote.
func Load(path string) Tensor {
	mustLoad()
	data, err := os.ReadFile(path)
	if err != nil {
		panic(&Error{Op: "Load", Message: err.Error()})
	}
	r := C.gt_unpickle(unsafe.Pointer(unsafe.SliceData(data)), C.int64_t(len(data)))
	if r.error == nil {
		return own(r.value)
	}
	message := errorString(r.error)
	panic(&Error{Op: "Load", Message: path + " is not a tensor that Save wrote: " + message})
}
