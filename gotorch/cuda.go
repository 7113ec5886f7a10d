package gotorch

// #include "iddpm.h"
// #include "iddpm_cuda.h"
// #include "loader.h"
import "C"

import (
	"fmt"
	"sync"
)

// LoadCUDA makes CUDA ready, or says why it cannot be used on this machine:
// [ErrNoGPU], a [*DriverError], or what could not be loaded. It works once, and
// later calls return the same answer. It must come before the first Backward, for
// libtorch settles there which devices it has.
func LoadCUDA() error { return cudaOnce() }

var cudaOnce = sync.OnceValue(func() error {
	// Where the driver will not do there is no use in loading 2 GB of libraries.
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

// IsCUDNNAvailable reports whether cuDNN's convolutions are there.
func IsCUDNNAvailable() bool { return LoadCUDA() == nil && C.gt_cudnn_available() != 0 }

// CUDADeviceCount returns the number of GPUs that can be used.
func CUDADeviceCount() int {
	if LoadCUDA() != nil {
		return 0
	}
	return int(C.gt_cuda_device_count())
}

// gpu makes CUDA ready and returns the number that the C calls know d by.
func gpu(op string, d Device) C.int32_t {
	if d.Type != CUDA {
		panic(&Error{Op: op, Message: d.String() + " is not a GPU"})
	}
	if err := LoadCUDA(); err != nil {
		panic(&Error{Op: op, Message: err.Error()})
	}
	return C.int32_t(d.Index)
}

// CUDASynchronize waits until a GPU has done all that it was given.
func CUDASynchronize(d Device) {
	check("CUDASynchronize", C.gt_cuda_synchronize(gpu("CUDASynchronize", d)))
}

// CUDAProperties describe a GPU.
type CUDAProperties struct {
	Name            string
	Major, Minor    int // compute capability
	Multiprocessors int
	TotalMemory     int64 // bytes
	FreeMemory      int64 // bytes that no process has taken
}

// GetCUDAProperties asks a GPU what it is.
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

// CapabilityError says that a GPU is too old: libtorch for CUDA 13 and csrc/cuda
// have no code for it.
type CapabilityError struct {
	Device       Device
	Name         string
	Major, Minor int
}

func (e *CapabilityError) Error() string {
	return fmt.Sprintf("%s, %s, has compute capability %d.%d, and libtorch for CUDA 13 needs 7.5 (Turing) or newer: use another GPU, or the CPU",
		e.Device, e.Name, e.Major, e.Minor)
}

// CheckCUDADevice says why a GPU cannot be used: what [LoadCUDA] returns, that there
// is no such GPU, or a [*CapabilityError]. It takes no memory of the GPU, which may be
// that of another process.
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

// CUDAMemoryStats are the bytes that this process's allocator holds on a GPU,
// now and at most since the start or [ResetPeakCUDAMemory].
type CUDAMemoryStats struct {
	Allocated, PeakAllocated int64 // in tensors
	Reserved, PeakReserved   int64 // taken from the driver
}

// GetCUDAMemoryStats asks for the memory that tensors take on a GPU.
func GetCUDAMemoryStats(d Device) CUDAMemoryStats {
	m := C.gt_cuda_memory(gpu("GetCUDAMemoryStats", d))
	check("GetCUDAMemoryStats", m.error)
	return CUDAMemoryStats{
		Allocated: int64(m.allocated), PeakAllocated: int64(m.peak_allocated),
		Reserved: int64(m.reserved), PeakReserved: int64(m.peak_reserved),
	}
}

// ResetPeakCUDAMemory makes the peaks begin again at what is held now.
func ResetPeakCUDAMemory(d Device) {
	check("ResetPeakCUDAMemory", C.gt_cuda_reset_peak_memory(gpu("ResetPeakCUDAMemory", d)))
}

// EmptyCUDACache gives the memory that no tensor uses back to the driver.
func EmptyCUDACache() {
	gpu("EmptyCUDACache", Device{Type: CUDA, Index: -1})
	check("EmptyCUDACache", C.gt_cuda_empty_cache())
}

// CUDAProfilerStart begins the range that a profiler collects which was started with
// profiling off, as by `ncu --profile-from-start off`. Without a profiler it does nothing.
func CUDAProfilerStart() {
	gpu("CUDAProfilerStart", Device{Type: CUDA, Index: -1})
	check("CUDAProfilerStart", C.gt_cuda_profiler_start())
}

// CUDAProfilerStop ends the range that [CUDAProfilerStart] began.
func CUDAProfilerStop() {
	gpu("CUDAProfilerStop", Device{Type: CUDA, Index: -1})
	check("CUDAProfilerStop", C.gt_cuda_profiler_stop())
}

// CUDAStream is a queue of a GPU's work: streams run side by side. It is one of
// libtorch's pool and needs no freeing.
type CUDAStream struct{ s C.gt_stream }

// NewCUDAStream returns a stream of a GPU from libtorch's pool.
func NewCUDAStream(device Device) CUDAStream {
	var s CUDAStream
	check("NewCUDAStream", C.gt_cuda_stream_new(gpu("NewCUDAStream", device), &s.s))
	return s
}

// GetCurrentCUDAStream returns the stream that operators of this OS thread use
// on a GPU.
func GetCurrentCUDAStream(device Device) CUDAStream {
	var s CUDAStream
	check("GetCurrentCUDAStream", C.gt_cuda_stream_current(gpu("GetCurrentCUDAStream", device), &s.s))
	return s
}

// SetCurrentCUDAStream makes the operators of this OS thread use a stream: call
// it in [Run] or [Scope], where a goroutine stays on its thread. A tensor that
// crosses from one stream to another needs [CUDAStream.Synchronize] between.
func SetCurrentCUDAStream(stream CUDAStream) {
	check("SetCurrentCUDAStream", C.gt_cuda_stream_set(stream.loaded("SetCurrentCUDAStream")))
}

// isDefault reports whether it is the GPU's default stream, the legacy one.
func (s CUDAStream) isDefault() bool { return s.s.id == 0 }

// Query reports whether the stream has done all that it was given.
func (s CUDAStream) Query() bool {
	var done C.int32_t
	check("CUDAStream.Query", C.gt_cuda_stream_query(s.loaded("CUDAStream.Query"), &done))
	return done != 0
}

// Synchronize waits until the stream has done all that it was given.
func (s CUDAStream) Synchronize() {
	check("CUDAStream.Synchronize", C.gt_cuda_stream_synchronize(s.loaded("CUDAStream.Synchronize")))
}

// loaded makes CUDA ready: the zero CUDAStream may be the first that is asked.
func (s CUDAStream) loaded(op string) C.gt_stream {
	gpu(op, Device{Type: CUDA, Index: int(s.s.device_index)})
	return s.s
}
