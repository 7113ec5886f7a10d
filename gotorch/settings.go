package gotorch

// #include "iddpm.h"
import "C"

// Settings are libtorch's process-wide settings. The zero value is libtorch's defaults.
type Settings struct {
	// Threads is how many threads an operator on the CPU uses, on the tensor thread of
	// [Run]. 0 in [Configure]: as before, at first one per core.
	Threads int
	// Deterministic makes libtorch use deterministic algorithms. Operators without one then
	// fail with an error.
	Deterministic bool
	// BenchmarkCUDNN makes cuDNN time several algorithms at the first convolution of each
	// shape and keep the fastest, which may differ from run to run. Without, it uses its
	// heuristics.
	BenchmarkCUDNN bool
	TF32           TF32
	// NoCPUCache frees the memory of each CPU tensor with it. Without, it is kept for later
	// tensors: see [CPUMemoryStats].
	NoCPUCache bool
}

// TF32 says which float32 operators on GPUs may round their inputs to TensorFloat-32, with
// a mantissa of 10 bits.
type TF32 int

// The values of [TF32].
const (
	TF32Convolutions TF32 = iota // libtorch's default
	TF32Never
	TF32Always // matrix products, too
)

// Configure applies s to the process and returns the settings before. Nothing else changes
// them. It panics with an [*Error] if a setting is invalid, and then changes none.
func Configure(s Settings) (before Settings) {
	const op = "Configure"
	mustLoad()
	Run(func() {
		before = currentSettings(op)
		if s.Threads == 0 {
			s.Threads = before.Threads
		}
		check(op, C.gt_set_settings(C.gt_settings{
			threads: C.int32_t(max(-1, min(s.Threads, maxThreads))), deterministic: cBool(s.Deterministic), benchmark_cudnn: cBool(s.BenchmarkCUDNN),
			tf32_matmul: cBool(s.TF32 == TF32Always), tf32_conv: cBool(s.TF32 != TF32Never), no_cpu_cache: cBool(s.NoCPUCache),
		}))
	})
	return before
}

// maxThreads is far above what any machine has.
const maxThreads = 1 << 16

// CurrentSettings returns the settings in effect. Threads is never 0.
func CurrentSettings() (s Settings) {
	mustLoad()
	Run(func() { s = currentSettings("CurrentSettings") })
	return s
}

func currentSettings(op string) Settings {
	var c C.gt_settings
	check(op, C.gt_get_settings(&c))
	s := Settings{Threads: int(c.threads), Deterministic: c.deterministic != 0, BenchmarkCUDNN: c.benchmark_cudnn != 0, NoCPUCache: c.no_cpu_cache != 0}
	switch {
	case c.tf32_matmul != 0:
		s.TF32 = TF32Always
	case c.tf32_conv == 0:
		s.TF32 = TF32Never
	}
	return s
}

// CPUMemoryStats are the bytes of the CPU's caching allocator. It keeps the memory of freed
// tensors for later ones of the same size, because a step allocates the same sizes as the
// step before. Tensors and cache together have at most 1.5 times the peak.
type CPUMemoryStats struct {
	Allocated, PeakAllocated int64 // in tensors
	Cached                   int64 // freed, and kept
}

// GetCPUMemoryStats returns the CPU allocator's statistics.
func GetCPUMemoryStats() CPUMemoryStats {
	mustLoad()
	m := C.gt_cpu_memory()
	return CPUMemoryStats{Allocated: int64(m.allocated), PeakAllocated: int64(m.peak_allocated), Cached: int64(m.cached)}
}

// EmptyCPUCache returns the memory that is kept for later CPU tensors to the system. See
// [Settings] to keep none.
func EmptyCPUCache() {
	mustLoad()
	C.gt_cpu_empty_cache()
}
