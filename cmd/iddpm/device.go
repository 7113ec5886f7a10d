package main

import (
	"cmp"
	"errors"
	"fmt"
	"iddpm/internal/cli"
	"iddpm/internal/host"
	"os"
	"slices"

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
	return host.GPUHint(s.container, host.BuiltForGPUs() && (requested || !s.container), host.HasGPU(os.DirFS("/")))
}
