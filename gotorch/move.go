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

// To moves a to a device and dtype; what is there already is returned as it is.
func To(a Tensor, device Device, dtype int8) Tensor {
	r := C.gt_to(a.defined("To"), device.c(), C.int32_t(dtype), 0)
	runtime.KeepAlive(a.owner)
	return take("To", r)
}

// CUDA moves t to a GPU; nonBlocking lets a copy from pinned memory go on
// beside the host.
func (t Tensor) CUDA(device Device, nonBlocking bool) Tensor {
	r := C.gt_to(t.defined("CUDA"), device.c(), C.int32_t(t.Dtype()), cBool(nonBlocking))
	runtime.KeepAlive(t.owner)
	return take("CUDA", r)
}

// CopyTo moves t to a device.
func (t Tensor) CopyTo(device Device) Tensor { return t.To(device) }

// CastTo converts the elements to dtype.
func (t Tensor) CastTo(dtype int8) Tensor {
	r := C.gt_cast(t.defined("CastTo"), C.int32_t(dtype))
	runtime.KeepAlive(t.owner)
	return take("CastTo", r)
}

// Contiguous returns t with its elements in row-major order.
func (t Tensor) Contiguous() Tensor {
	r := C.gt_contiguous(t.defined("Contiguous"), 0)
	runtime.KeepAlive(t.owner)
	return take("Contiguous", r)
}

// ChannelsLast returns an [N, C, H, W] tensor that lies in memory as
// [N, H, W, C].
func (t Tensor) ChannelsLast() Tensor {
	r := C.gt_contiguous(t.defined("ChannelsLast"), 1)
	runtime.KeepAlive(t.owner)
	return take("ChannelsLast", r)
}

// Clone copies t.
func (t Tensor) Clone() Tensor {
	r := C.gt_clone(t.defined("Clone"))
	runtime.KeepAlive(t.owner)
	return take("Clone", r)
}

// PinMemory copies t to page-locked host memory, from which a GPU copies
// without the processor's help.
func (t Tensor) PinMemory() Tensor {
	slot := t.defined("PinMemory")
	if err := LoadCUDA(); err != nil {
		panic(&Error{Op: "PinMemory", Message: err.Error()})
	}
	r := C.gt_pin_memory(slot)
	runtime.KeepAlive(t.owner)
	return take("PinMemory", r)
}

// CopyI overwrites t's elements with src's, converting dtype and device. With
// nonBlocking, a copy to a GPU from page-locked memory goes on beside the host.
func (t Tensor) CopyI(src Tensor, nonBlocking ...bool) {
	beside := len(nonBlocking) > 0 && nonBlocking[0]
	check("CopyI", C.gt_copy_(t.defined("CopyI"), src.defined("CopyI"), cBool(beside)))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(src.owner)
}

// SetData lets t share b's memory from now on.
func (t Tensor) SetData(b Tensor) {
	check("SetData", C.gt_set_data(t.defined("SetData"), b.defined("SetData")))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(b.owner)
}

// Save writes t to a file that [Load] reads. Package pt writes the files that
// Python's torch.load opens by default. After an error the file holds what it
// held before.
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
