package gotorch

// #include "iddpm.h"
// #include "iddpm_cuda.h"
// #include "loader.h"
import "C"

import (
	"fmt"
	"sync"
)

// LoadCUDA loads CUDA, or returns why it cannot be used on this machine:
// [ErrNoGPU], a [*DriverError], or the library that failed to load. It runs once;
// later calls return the same result. Call it before the first Backward, because
// libtorch fixes its list of devices there.
func LoadCUDA() error { return cudaOnce() }

var cudaOnce = sync.OnceValue(func() error {
	// Check the driver first: loading 2 GB of libraries would be wasted.
	if err := checkDriver(); err != nil {
		return err
	}
	if err := loadCUDA(); err != nil {
		return err
	}
	if C.gt_cuda_available() == 0 || C.gt_cuda_device_count() == 0 {
		return fmt.Errorf("libtorch finds no CUDA device: check nvidia-smi and CUDA_VISIBLE_DEVICES")
	}
	return nil
})

// CUDADeviceCount returns the number of GPUs that can be used.
func CUDADeviceCount() int {
	if LoadCUDA() != nil {
		return 0
	}
	return int(C.gt_cuda_device_count())
}

// gpu loads CUDA and returns the device index of d for C calls.
func gpu(op string, d Device) C.int32_t {
	if d.Type != CUDA {
		panic(&Error{Op: op, Message: d.String() + " is not a GPU"})
	}
	if err := LoadCUDA(); err != nil {
		panic(&Error{Op: op, Message: err.Error()})
	}
	return C.int32_t(d.Index)
}

// CUDASynchronize waits until all work submitted to a GPU has finished.
func CUDASynchronize(d Device) {
	check("CUDASynchronize", C.gt_cuda_synchronize(gpu("CUDASynchronize", d)))
}

// CUDAProperties describes a GPU.
type CUDAProperties struct {
	Name            string
	Major, Minor    int // compute capability
	Multiprocessors int
	TotalMemory     int64 // bytes
	FreeMemory      int64 // bytes not allocated by any process
}

// GetCUDAProperties returns the properties of a GPU.
func GetCUDAProperties(d Device) CUDAProperties {
	p := C.gt_cuda_get_properties(gpu("GetCUDAProperties", d))
	check("GetCUDAProperties", p.error)
	return CUDAProperties{
		Name: C.GoString(&p.name[0]), Major: int(p.major), Minor: int(p.minor), Multiprocessors: int(p.multiprocessors),
		TotalMemory: int64(p.total_memory), FreeMemory: int64(p.free_memory),
	}
}

// AtLeast reports whether the GPU has this compute capability, or a newer one.
func (p CUDAProperties) AtLeast(major, minor int) bool {
	return p.Major > major || p.Major == major && p.Minor >= minor
}

// CapabilityError reports a GPU that is too old: libtorch for CUDA 13 and csrc/cuda
// contain no code for its compute capability.
type CapabilityError struct {
	Device       Device
	Name         string
	Major, Minor int
}

func (e *CapabilityError) Error() string {
	return fmt.Sprintf("%s, %s, has compute capability %d.%d, and libtorch for CUDA 13 needs 7.5 (Turing) or newer: use another GPU, or the CPU",
		e.Device, e.Name, e.Major, e.Minor)
}

// CheckCUDADevice returns why a GPU cannot be used: an error of [LoadCUDA], an index
// without a GPU, or a [*CapabilityError]. It allocates no GPU memory, so it is safe
// while another process uses the GPU.
func CheckCUDADevice(d Device) error {
	if err := LoadCUDA(); err != nil {
		return err
	}
	var gpu C.gt_driver_device
	if code := C.gt_loader_device(C.int(d.Index), &gpu); code != 0 {
		return fmt.Errorf("the NVIDIA driver does not know %s (error %d)", d, code)
	}
	if gpu.major < 7 || gpu.major == 7 && gpu.minor < 5 {
		return &CapabilityError{Device: d, Name: C.GoString(&gpu.name[0]), Major: int(gpu.major), Minor: int(gpu.minor)}
	}
	return nil
}

// CUDAMemoryStats are the bytes that this process's caching allocator holds on a GPU:
// the current values, and the peaks since the start.
type CUDAMemoryStats struct {
	Allocated, PeakAllocated int64 // in tensors
	Reserved, PeakReserved   int64 // allocated from the driver, cache included
}

// GetCUDAMemoryStats returns the allocator's statistics for a GPU.
func GetCUDAMemoryStats(d Device) CUDAMemoryStats {
	m := C.gt_cuda_memory(gpu("GetCUDAMemoryStats", d))
	check("GetCUDAMemoryStats", m.error)
	return CUDAMemoryStats{
		Allocated: int64(m.allocated), PeakAllocated: int64(m.peak_allocated),
		Reserved: int64(m.reserved), PeakReserved: int64(m.peak_reserved),
	}
}

// EmptyCUDACache returns cached memory that no tensor uses to the driver.
func EmptyCUDACache() {
	gpu("EmptyCUDACache", Device{Type: CUDA, Index: -1})
	check("EmptyCUDACache", C.gt_cuda_empty_cache())
}

// CUDAProfilerStart starts the range to be profiled, for profilers that were started with
// collection off (`ncu --profile-from-start off`). Without a profiler it does nothing.
func CUDAProfilerStart() {
	gpu("CUDAProfilerStart", Device{Type: CUDA, Index: -1})
	check("CUDAProfilerStart", C.gt_cuda_profiler_start())
}

// CUDAProfilerStop ends the range that [CUDAProfilerStart] began.
func CUDAProfilerStop() {
	gpu("CUDAProfilerStop", Device{Type: CUDA, Index: -1})
	check("CUDAProfilerStop", C.gt_cuda_profiler_stop())
}

// cudaStream is a CUDA stream: streams run concurrently. It belongs to libtorch's
// pool and need not be freed.
type cudaStream struct{ s C.gt_stream }

// newCUDAStream returns a stream of a GPU from libtorch's pool.
func newCUDAStream(device Device) cudaStream {
	const op = "newCUDAStream"
	var s cudaStream
	check(op, C.gt_cuda_stream_new(gpu(op, device), &s.s))
	return s
}

// currentCUDAStream returns this OS thread's current stream on a GPU.
func currentCUDAStream(device Device) cudaStream {
	const op = "currentCUDAStream"
	var s cudaStream
	check(op, C.gt_cuda_stream_current(gpu(op, device), &s.s))
	return s
}

// setCurrent makes s this OS thread's current stream. Call it where a goroutine stays on
// its thread, as in [Run].
func (s cudaStream) setCurrent() { check("cudaStream.setCurrent", C.gt_cuda_stream_set(s.s)) }

// isDefault reports whether s is the GPU's legacy default stream.
func (s cudaStream) isDefault() bool { return s.s.id == 0 }
