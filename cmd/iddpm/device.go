package main

import (
	"cmp"
	"errors"
	"fmt"
	"iddpm/internal/cli"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
)

// openDevice returns the device of a name.
func (s *session) openDevice(name string) (gotorch.Device, error) {
	if err := gotorch.LoadLibrary(); err != nil {
		return gotorch.Device{}, err
	}
	if name == "auto" {
		return s.automaticDevice(), nil
	}
	d, err := gotorch.ParseDevice(name)
	if err != nil {
		return d, cli.Errorf("--device: %w", err)
	}
	if d.Type == gotorch.CPU {
		return d, nil
	}
	if err := gotorch.LoadCUDA(); err != nil {
		if hint := s.gpuHint(); hint != "" {
			err = fmt.Errorf("%w\n%s", err, hint)
		}
		return d, err
	}
	if n := gotorch.CUDADeviceCount(); d.Index >= n {
		return d, cli.Errorf("--device %s: there are %d GPUs, cuda:0 the first", name, n)
	}
	return d, gotorch.CheckCUDADevice(d)
}

// automaticDevice returns the first usable GPU, or the CPU.
func (s *session) automaticDevice() gotorch.Device {
	unusable := gotorch.LoadCUDA()
	for i := range gotorch.CUDADeviceCount() {
		d := gotorch.Device{Type: gotorch.CUDA, Index: i}
		err := gotorch.CheckCUDADevice(d)
		if err == nil {
			if unusable != nil {
				s.log.Warn("skipping an unusable GPU", zap.NamedError("reason", unusable), zap.Stringer("device", d))
			}
			return d
		}
		if unusable == nil {
			unusable = err
		}
	}
	s.logFallback(unusable, s.gpuHint())
	return gotorch.Device{}
}

// logFallback logs that the CPU is used, and why: as a warning if the machine or the
// image is made for a GPU.
func (s *session) logFallback(reason error, hint string) {
	if hint == "" && errors.Is(reason, gotorch.ErrNoGPU) {
		s.log.Info("running on the CPU", zap.NamedError("reason", reason))
		return
	}
	s.log.Warn("running on the CPU", zap.NamedError("reason", reason),
		zap.String("hint", cmp.Or(hint, "--device cpu runs on the CPU without this warning")))
}

// gpuHint is gpuHint for this machine; "" if the user has hidden its GPUs. The GPU image
// sets NVIDIA_VISIBLE_DEVICES; a development container does not.
func (s *session) gpuHint() string {
	if visible, set := os.LookupEnv("CUDA_VISIBLE_DEVICES"); set && (visible == "" || visible == "-1") {
		return ""
	}
	requested := !slices.Contains([]string{"", "none", "void"}, os.Getenv("NVIDIA_VISIBLE_DEVICES"))
	return gpuHint(s.container, builtForGPUs() && (requested || !s.container), hasGPU(os.DirFS("/")))
}

// gpuHint says how to make a GPU usable that this program has not found. It is "" if
// neither the image nor the hardware suggests one. forGPUs: the CUDA library is installed
// with the program; hardware: the machine has an NVIDIA GPU.
func gpuHint(container, forGPUs, hardware bool) string {
	switch {
	case container && forGPUs:
		return "docker run --gpus all, or in Kubernetes the limit nvidia.com/gpu: 1, on a host with NVIDIA driver 580 or newer (nvidia-smi) and the NVIDIA container toolkit; " +
			"to use no GPU, --device cpu or the image iddpm:cpu"
	case container && hardware:
		return "this image is for CPUs: use the image iddpm (make image) with docker run --gpus all"
	case hardware && forGPUs:
		return "CUDA 13 needs NVIDIA driver 580 or newer: see nvidia-smi"
	case hardware:
		return "`make cuda` builds the CUDA library, which needs NVIDIA driver 580 or newer"
	}
	return ""
}

// builtForGPUs reports whether the CUDA library is in the program's folder.
func builtForGPUs() bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return false
	}
	return cli.Exists(filepath.Join(filepath.Dir(self), "libiddpm_cuda.so"))
}

// hasGPU reports whether the machine has an NVIDIA GPU, even one that a container cannot
// use: by its driver, which a container's /proc shows too, or on the PCI bus. root is the
// root of the file system.
func hasGPU(root fs.FS) bool {
	for _, driver := range []string{"proc/driver/nvidia/version", "dev/dxg"} { // the latter in WSL 2
		if _, err := fs.Stat(root, driver); err == nil {
			return true
		}
	}
	vendors, _ := fs.Glob(root, "sys/bus/pci/devices/*/vendor")
	for _, vendor := range vendors {
		// Only display and 3D controllers: NVIDIA also makes network adapters.
		class, _ := fs.ReadFile(root, path.Join(path.Dir(vendor), "class"))
		made, _ := fs.ReadFile(root, vendor)
		if strings.TrimSpace(string(made)) == "0x10de" && strings.HasPrefix(string(class), "0x03") {
			return true
		}
	}
	return false
}
