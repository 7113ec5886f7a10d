package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/internal/cli"
	"iddpm/internal/host"
)

// deviceFinder finds the device of a command, and logs which one it takes.
type deviceFinder struct {
	log       *zap.Logger
	container bool // the program runs in a container
}

// find returns the device of a name: cpu, cuda, cuda:N, or auto.
func (f deviceFinder) find(name string) (gotorch.Device, error) {
	if err := gotorch.LoadLibrary(); err != nil {
		return gotorch.Device{}, err
	}
	configure(func(o *gotorch.Settings) { *o = gotorch.Settings{} }) // whatever an earlier command has set
	if name == "auto" {
		return f.automatic(), nil
	}
	d, err := gotorch.ParseDevice(name)
	if err != nil {
		return d, cli.Errorf("--device: %w", err)
	}
	if d.Type == gotorch.CPU {
		return d, nil
	}
	if err := gotorch.LoadCUDA(); err != nil {
		if hint := f.gpuHint(); hint != "" {
			err = fmt.Errorf("%w\n%s", err, hint)
		}
		return d, err
	}
	if n := gotorch.CUDADeviceCount(); d.Index >= n {
		return d, cli.Errorf("--device %s: there are %d GPUs, cuda:0 the first", name, n)
	}
	return d, gotorch.CheckCUDADevice(d)
}

// automatic returns the first usable GPU, or the CPU.
func (f deviceFinder) automatic() gotorch.Device {
	unusable := gotorch.LoadCUDA()
	for i := range gotorch.CUDADeviceCount() {
		d := gotorch.Device{Type: gotorch.CUDA, Index: i}
		err := gotorch.CheckCUDADevice(d)
		if err == nil {
			if unusable != nil {
				f.log.Warn("skipping an unusable GPU", zap.NamedError("reason", unusable), zap.Stringer("device", d))
			}
			return d
		}
		if unusable == nil {
			unusable = err
		}
	}
	f.logFallback(unusable, f.gpuHint())
	return gotorch.Device{}
}

// logFallback logs that the CPU is used, and why: as a warning if the machine or the
// image is made for a GPU.
func (f deviceFinder) logFallback(reason error, hint string) {
	if hint == "" && errors.Is(reason, gotorch.ErrNoGPU) {
		f.log.Info("running on the CPU", zap.NamedError("reason", reason))
		return
	}
	f.log.Warn("running on the CPU", zap.NamedError("reason", reason),
		zap.String("hint", cmp.Or(hint, "--device cpu runs on the CPU without this warning")))
}

// gpuHint is [host.MachineGPUHint] for this machine.
func (f deviceFinder) gpuHint() string {
	return host.MachineGPUHint(os.DirFS("/"), os.LookupEnv, f.container, host.BuiltForGPUs())
}
