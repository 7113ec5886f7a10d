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

// IsCUDAAvailable reports whether tensors can be put on a GPU.
func IsCUDAAvailable() bool { return LoadCUDA() == nil }

// IsCUDNNAvailable reports whether cuDNN can be used.
func IsCUDNNAvailable() bool { return LoadCUDA() == nil && C.gt_cudnn_available() != 0 }

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
// the current values, and the peaks since the start or [ResetPeakCUDAMemory].
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

// ResetPeakCUDAMemory resets the peaks to the current values.
func ResetPeakCUDAMemory(d Device) {
	check("ResetPeakCUDAMemory", C.gt_cuda_reset_peak_memory(gpu("ResetPeakCUDAMemory", d)))
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

// CUDAStream is a CUDA stream: streams run concurrently. It belongs to libtorch's
// pool and need not be freed.
type CUDAStream struct{ s C.gt_stream }

// NewCUDAStream returns a stream of a GPU from libtorch's pool.
func NewCUDAStream(device Device) CUDAStream {
	var s CUDAStream
	check("NewCUDAStream", C.gt_cuda_stream_new(gpu("NewCUDAStream", device), &s.s))
	return s
}

// GetCurrentCUDAStream returns this OS thread's current stream on a GPU.
func GetCurrentCUDAStream(device Device) CUDAStream {
	var s CUDAStream
	check("GetCurrentCUDAStream", C.gt_cuda_stream_current(gpu("GetCurrentCUDAStream", device), &s.s))
	return s
}

// SetCurrentCUDAStream sets this OS thread's current stream. Call it in [Run] or
// [Scope], where a goroutine stays on its thread. Call [CUDAStream.Synchronize]
// before using a tensor on another stream than the one that computed it.
func SetCurrentCUDAStream(stream CUDAStream) {
	check("SetCurrentCUDAStream", C.gt_cuda_stream_set(stream.loaded("SetCurrentCUDAStream")))
}

// isDefault reports whether s is the GPU's legacy default stream.
func (s CUDAStream) isDefault() bool { return s.s.id == 0 }

// Query reports whether all work submitted to the stream has finished.
func (s CUDAStream) Query() bool {
	var done C.int32_t
	check("CUDAStream.Query", C.gt_cuda_stream_query(s.loaded("CUDAStream.Query"), &done))
	return done != 0
}

// Synchronize waits until all work submitted to the stream has finished.
func (s CUDAStream) Synchronize() {
	check("CUDAStream.Synchronize", C.gt_cuda_stream_synchronize(s.loaded("CUDAStream.Synchronize")))
}

// loaded loads CUDA, since a method of the zero CUDAStream may be the first CUDA call.
func (s CUDAStream) loaded(op string) C.gt_stream {
	gpu(op, Device{Type: CUDA, Index: int(s.s.device_index)})
	return s.s
}
