package gotorch

// #include "iddpm.h"
import "C"

import (
	"fmt"
	"strconv"
	"strings"
)

// DeviceType tells CPU from CUDA; the numbers are c10::DeviceType's.
type DeviceType int32

// The kinds of devices.
const (
	CPU  DeviceType = 0
	CUDA DeviceType = 1
)

// Device is where a tensor's memory is. The zero Device is the CPU.
type Device struct {
	Type  DeviceType
	Index int // of several GPUs; -1: the current one
}

// NewDevice makes a device from "cpu", "cuda" or "cuda:N", or panics with an
// [*Error].
func NewDevice(deviceType string) Device {
	d, err := ParseDevice(deviceType)
	if err != nil {
		panic(&Error{Op: "NewDevice", Message: err.Error()})
	}
	return d
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

// c makes the device ready for the tensor that is to come.
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

// SetNumThreads sets how many threads an operator on the CPU may use.
func SetNumThreads(n int32) {
	mustLoad()
	Run(func() { check("SetNumThreads", C.gt_set_num_threads(C.int32_t(n))) })
}

// GetNumThreads returns how many threads an operator on the CPU may use.
func GetNumThreads() (n int32) {
	mustLoad()
	Run(func() { n = int32(C.gt_get_num_threads()) })
	return n
}

// CPUCapability names the instruction set that libtorch's kernels use here,
// such as "AVX512": results are equal bit for bit only where it is the same.
func CPUCapability() string {
	mustLoad()
	return C.GoString(C.gt_cpu_capability())
}

// CPUHasBFloat16 reports whether the processor multiplies bfloat16 natively.
func CPUHasBFloat16() bool {
	mustLoad()
	return C.gt_cpu_has_bf16() != 0
}

// SetDeterministic makes libtorch choose algorithms that give the same bits at
// every run, and refuse the operators that have none.
func SetDeterministic(on bool) {
	mustLoad()
	check("SetDeterministic", C.gt_set_deterministic(cBool(on)))
}

// SetBenchmarkCUDNN makes cuDNN try several algorithms for each new shape of a
// convolution, at its first use, and keep the fastest, which may be another at
// every run of the program. libtorch's default is to take what cuDNN guesses.
func SetBenchmarkCUDNN(on bool) {
	mustLoad()
	check("SetBenchmarkCUDNN", C.gt_set_benchmark_cudnn(cBool(on)))
}

// SetAllowTF32 lets CUDA round float32 factors to TensorFloat-32 in
// convolutions and matrix products. libtorch's default allows it in
// convolutions.
func SetAllowTF32(on bool) {
	mustLoad()
	check("SetAllowTF32", C.gt_set_allow_tf32(cBool(on)))
}
