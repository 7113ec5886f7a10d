package host

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch"
)

// GPU is a GPU that libtorch can use.
type GPU struct {
	Device gotorch.Device
	gotorch.CUDAProperties
}

// String returns the name of the card and its compute capability.
func (g GPU) String() string {
	return fmt.Sprintf("%s, compute capability %d.%d", g.Name, g.Major, g.Minor)
}

// UsableGPUs returns the GPUs that commands can use, and why others, or all, cannot be.
func UsableGPUs() (gpus []GPU, unusable error) {
	unusable = gotorch.LoadCUDA()
	for i := range gotorch.CUDADeviceCount() {
		d := gotorch.Device{Type: gotorch.CUDA, Index: i}
		if err := gotorch.CheckCUDADevice(d); err != nil {
			unusable = err
			continue
		}
		err := gotorch.Try(func() { gpus = append(gpus, GPU{d, gotorch.GetCUDAProperties(d)}) })
		if err != nil {
			unusable = err
		}
	}
	return gpus, unusable
}

// GPUHint says how to make a GPU usable that this program has not found. It is "" if
// neither the image nor the hardware suggests one. forGPUs: the CUDA library is installed
// with the program; hardware: the machine has an NVIDIA GPU.
func GPUHint(container, forGPUs, hardware bool) string {
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

// MachineGPUHint is [GPUHint] for a machine with this root folder and environment; "" if the user has hidden
// its GPUs. The GPU image sets NVIDIA_VISIBLE_DEVICES; a development container does not.
func MachineGPUHint(root fs.FS, env func(name string) (string, bool), container, forGPUs bool) string {
	if visible, set := env("CUDA_VISIBLE_DEVICES"); set && (visible == "" || visible == "-1") {
		return ""
	}
	nvidia, _ := env("NVIDIA_VISIBLE_DEVICES")
	requested := !slices.Contains([]string{"", "none", "void"}, nvidia)
	return GPUHint(container, forGPUs && (requested || !container), HasGPU(root))
}

// BuiltForGPUs reports whether the CUDA library is in the program's folder.
func BuiltForGPUs() bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(filepath.Dir(self), "libiddpm_cuda.so"))
	return err == nil
}

// HasGPU reports whether the machine has an NVIDIA GPU, even one that a container cannot
// use: by its driver, which a container's /proc shows too, or on the PCI bus. root is the
// root of the file system.
func HasGPU(root fs.FS) bool {
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
