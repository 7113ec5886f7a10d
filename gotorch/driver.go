package gotorch

// #include "loader.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
)

// ErrNoGPU is wrapped in the error of [LoadCUDA] on a machine without a GPU, or if
// CUDA_VISIBLE_DEVICES hides all of them. Any other error means that there is a GPU
// that cannot be used.
var ErrNoGPU = errors.New("no NVIDIA GPU found")

// CUDAVersion is a CUDA release, encoded as CUDA does: 1000 major + 10 minor.
type CUDAVersion int

// String returns, for instance, "13.0".
func (v CUDAVersion) String() string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// neededCUDA is the oldest driver version that works with libtorch for CUDA 13:
// drivers are compatible within a major version.
const neededCUDA CUDAVersion = 13000

// DriverError reports an NVIDIA driver that is too old for libtorch's CUDA.
type DriverError struct {
	Found, Needed CUDAVersion // the newest version that the driver supports, and the oldest that works
}

func (e *DriverError) Error() string {
	return fmt.Sprintf("the NVIDIA driver is for CUDA %s, and %s is needed: update the driver to version 580 or newer", e.Found, e.Needed)
}

// checkDriver returns why the NVIDIA driver cannot run libtorch's CUDA, or nil.
func checkDriver() error {
	const noDevice = 100 // CUDA_ERROR_NO_DEVICE
	d := C.gt_loader_driver()
	version := CUDAVersion(d.version)
	switch {
	case version == 0:
		return missingDriver("/proc/driver/nvidia/version")
	case d.error == noDevice || d.error == 0 && d.devices == 0:
		if visible, set := os.LookupEnv("CUDA_VISIBLE_DEVICES"); set {
			return fmt.Errorf("%w: CUDA_VISIBLE_DEVICES=%q leaves none", ErrNoGPU, visible)
		}
		return fmt.Errorf("%w: the NVIDIA driver sees none", ErrNoGPU)
	case version < neededCUDA:
		return &DriverError{Found: version, Needed: neededCUDA}
	case d.error != 0:
		return fmt.Errorf("the NVIDIA driver does not start: %s: check nvidia-smi", C.GoString(d.error_text))
	}
	return nil
}

// missingDriver distinguishes a machine without a GPU from a container without the
// driver's libraries: the kernel module's file is also visible in the container.
func missingDriver(module string) error {
	if _, err := os.Stat(module); err == nil {
		return errors.New("the kernel has the NVIDIA driver, but libcuda.so.1 cannot be loaded: start the container with --gpus all (Apptainer: --nv), or reinstall the driver")
	}
	return fmt.Errorf("%w: this machine has no NVIDIA driver", ErrNoGPU)
}
