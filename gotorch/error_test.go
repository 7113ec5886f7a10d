package gotorch

import "testing"

// TestMemoryCause has messages of libtorch and NVIDIA's libraries for failed allocations,
// and others that look similar.
func TestMemoryCause(t *testing.T) {
	for message, want := range map[string]bool{
		"CUDA out of memory. Tried to allocate 2.00 GiB.":                                           true,
		"CUDA error: out of memory":                                                                 true,
		"CUDA driver error: out of memory":                                                          true,
		"FIND was unable to find an engine to execute this computation":                             true,
		"GET was unable to find an engine to execute this computation":                              true,
		"CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`":                true,
		"cuDNN error: CUDNN_STATUS_ALLOC_FAILED":                                                    true,
		"cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED":                         true,
		"NCCL error: Cuda failure 2 'out of memory'":                                                true,
		"CUDA error: an illegal memory access was encountered":                                      false,
		"cuDNN error: CUDNN_STATUS_EXECUTION_FAILED":                                                false,
		"The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0": false,
	} {
		if _, got := memoryCause(message); got != want {
			t.Errorf("%q: out of memory %v, want %v", message, got, want)
		}
	}
}
