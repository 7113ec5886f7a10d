package gotorch

// #include "iddpm.h"
import "C"

import (
	"fmt"
	"strconv"
	"strings"
)

// DeviceType is CPU or CUDA, numbered as c10::DeviceType.
type DeviceType int32

// The device types.
const (
	CPU  DeviceType = 0
	CUDA DeviceType = 1
)

// Device is where a tensor's memory is. The zero Device is the CPU.
type Device struct {
	Type  DeviceType
	Index int // of several GPUs; -1: the current one
}

// ParseDevice makes a device from "cpu", "cuda" or "cuda:N".
func ParseDevice(s string) (Device, error) {
	name, index, numbered := strings.Cut(s, ":")
	switch {
	case name == "cpu" && !numbered:
		return Device{}, nil
	case name == "cuda" && !numbered:
		return Device{Type: CUDA}, nil
	case name == "cuda":
		if n, err := strconv.Atoi(index); err == nil && n >= 0 && n < 128 {
			return Device{Type: CUDA, Index: n}, nil
		}
	}
	return Device{}, fmt.Errorf("no device %q: use cpu, cuda or cuda:N", s)
}

// String returns "cpu" or "cuda:N".
func (d Device) String() string {
	switch {
	case d.Type == CPU:
		return "cpu"
	case d.Type == CUDA && d.Index < 0:
		return "cuda"
	case d.Type == CUDA:
		return fmt.Sprintf("cuda:%d", d.Index)
	}
	return fmt.Sprintf("device type %d", d.Type)
}

// c returns the device for C calls, and loads CUDA if it is a GPU.
func (d Device) c() C.gt_device {
	index := d.Index
	switch d.Type {
	case CPU:
		index = -1
	case CUDA:
		if err := LoadCUDA(); err != nil {
			panic(&Error{Op: d.String(), Message: err.Error()})
		}
	}
	return C.gt_device{_type: C.int32_t(d.Type), index: C.int32_t(index)}
}

// CPUCapability returns the instruction set of libtorch's CPU kernels on this
// machine, such as "AVX512". Results are bit-identical only between machines with
// the same one.
func CPUCapability() string {
	mustLoad()
	return C.GoString(C.gt_cpu_capability())
}

// CPUHasBFloat16 reports whether the processor has bfloat16 matrix instructions.
func CPUHasBFloat16() bool {
	mustLoad()
	return C.gt_cpu_has_bf16() != 0
}
