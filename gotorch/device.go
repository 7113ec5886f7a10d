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

// SetDeterministic makes libtorch use deterministic algorithms. Operators without
// one then fail with an error.
func SetDeterministic(on bool) {
	mustLoad()
	check("SetDeterministic", C.gt_set_deterministic(cBool(on)))
}

// SetBenchmarkCUDNN turns cuDNN benchmark mode on or off. On, cuDNN times several
// algorithms at the first convolution of each shape and keeps the fastest, which
// may differ from run to run. Off, libtorch's default, it uses cuDNN's heuristics.
func SetBenchmarkCUDNN(on bool) {
	mustLoad()
	check("SetBenchmarkCUDNN", C.gt_set_benchmark_cudnn(cBool(on)))
}

// SetAllowTF32 allows TensorFloat-32 in float32 convolutions and matrix products
// on GPUs. libtorch's default allows it in convolutions only.
func SetAllowTF32(on bool) {
	mustLoad()
	check("SetAllowTF32", C.gt_set_allow_tf32(cBool(on)))
}
