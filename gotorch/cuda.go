package gotorch

// #include "iddpm.h"
import "C"

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// LoadCUDA makes CUDA ready, or says why it cannot be used on this machine. It
// works once, and later calls return the same answer. It must come before the
// first Backward, for libtorch settles there which devices it has.
func LoadCUDA() error { return cudaOnce() }

var cudaOnce = sync.OnceValue(func() error {
	// Without the driver there is no use in loading 2 GB of libraries.
	if found, _ := filepath.Glob("/proc/driver/nvidia/version"); len(found) == 0 {
		if _, err := os.Stat("/dev/nvidiactl"); err != nil {
			return fmt.Errorf("no NVIDIA driver on this machine")
		}
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
