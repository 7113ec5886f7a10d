package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"golang.org/x/sys/unix"

	"iddpm/internal/cgroup"
	"iddpm/internal/host"
	"iddpm/internal/terminal"
)

// libtorch loads libtorch and multiplies two matrices.
func (m Machine) libtorch() Check {
	c := Check{Name: "libtorch", State: OK}
	if err := m.Load(); err != nil {
		c.State, c.Found = Failed, err.Error()
		c.Advice = "install torch " + gotorch.Version + " (pip install torch==" + gotorch.Version + ") and set LIBTORCH to its folder site-packages/torch, or build from source: make build"
		return c
	}
	c.Found = gotorch.Version
	if folder, ok := m.Env("LIBTORCH"); ok && folder != "" {
		c.Found += " in " + folder + " (LIBTORCH)"
	}
	return c
}

// gpus checks the driver and the GPUs. A machine without any trains on its CPU.
func (m Machine) gpus() Check {
	c := Check{Name: "gpu", State: OK}
	gpus, unusable := m.GPUs()
	var found []string
	for _, g := range gpus {
		found = append(found, fmt.Sprintf("%v: %v, %s of %s free", g.Device, g, terminal.FormatBytes(g.FreeMemory), terminal.FormatBytes(g.TotalMemory)))
		if g.FreeMemory < 2<<30 {
			c.State, c.Advice = Warning, "little GPU memory is free: end the programs that nvidia-smi lists, or choose another GPU by CUDA_VISIBLE_DEVICES"
		}
	}
	hint := host.MachineGPUHint(m.Root, m.Env, host.InContainer(m.Root, m.Env), m.ForGPUs)
	switch {
	case len(gpus) > 0 && unusable != nil:
		c.State, c.Advice = Warning, "one of the GPUs cannot be used: "+unusable.Error()
	case len(gpus) > 0:
	case hint == "" && errors.Is(unusable, gotorch.ErrNoGPU):
		found = append(found, "none: training runs on the CPU")
	default:
		c.State, c.Advice = Warning, hint
		found = append(found, "none can be used, so training runs on the CPU: "+fmt.Sprint(unusable))
		if hint == "" {
			c.Advice = "to train on the CPU without this warning: --device cpu"
		}
	}
	c.Found = strings.Join(found, "; ")
	return c
}

// The least memory and space, in bytes: the built-in preset for a CPU needs about the
// former, and a few of its checkpoints the latter.
const (
	leastMemory  = 700 << 20
	enoughMemory = 2 << 30
	leastDisk    = 256 << 20
	enoughDisk   = 5 << 30
	enoughShared = 1 << 30
)

// memory checks the memory that this process may still allocate.
func (m Machine) memory() Check {
	free := cgroup.FreeMemory(m.Root)
	c := Check{Name: "memory", State: OK, Found: terminal.FormatBytes(free) + " free"}
	switch {
	case free < leastMemory:
		c.State = Failed
	case free < enoughMemory:
		c.State = Warning
	}
	if c.State != OK {
		c.Advice = "end other programs, or raise the limit of the container or control group (docker run --memory); smaller --batch-size or --microbatch, and --data-cache none, need less"
	}
	return c
}

// threads checks the processors, and settings that limit their use.
func (m Machine) threads() Check {
	c := Check{Name: "threads", State: OK, Found: fmt.Sprintf("%d logical processors", m.Processors)}
	if quota := cgroup.CPUQuota(m.Root); !math.IsInf(quota, 1) {
		c.Found += fmt.Sprintf(", quota %.3g", quota)
		if quota < 1 {
			c.State, c.Advice = Warning, "the CPU quota is below one processor: raise it (docker run --cpus, or Kubernetes' resources.limits.cpu)"
		}
	}
	if load, ok := loadAverage(m.Root); ok {
		c.Found += fmt.Sprintf(", load average %.1f", load)
		if load > 2*float64(m.Processors) {
			c.State, c.Advice = Warning, "other programs use the processors: training shares them and is slower; --threads N fixes its number of threads"
		}
	}
	return c
}

// loadAverage returns the load of the last minute.
func loadAverage(root fs.FS) (float64, bool) {
	text, err := fs.ReadFile(root, "proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	load, err2 := strconv.ParseFloat(first, 64)
	return load, err == nil && err2 == nil
}

// sharedMemory checks /dev/shm, through which NCCL connects the GPUs of one machine.
func (m Machine) sharedMemory() Check {
	c := Check{Name: "shared memory", State: OK}
	free, err := m.Free("/dev/shm")
	switch {
	case err != nil:
		c.State, c.Found = Warning, "/dev/shm: "+err.Error()
	case free < enoughShared:
		c.State, c.Found = Warning, "/dev/shm has "+terminal.FormatBytes(free)+" free"
	default:
		c.Found = "/dev/shm has " + terminal.FormatBytes(free) + " free"
	}
	if c.State != OK {
		c.Advice = "enough for one process; several GPUs need 1 GiB: docker run --ipc=host or --shm-size 1g, or remount /dev/shm"
	}
	return c
}

// disk checks that run folders can be written, and the space for them.
func (m Machine) disk() Check {
	c := Check{Name: "disk", State: OK}
	if err := writable(m.RunDir); err != nil {
		c.State, c.Found = Failed, err.Error()
		c.Advice = "choose a folder that this user may write to: --run-dir DIR"
		return c
	}
	free, err := m.Free(m.RunDir)
	if err != nil {
		c.State, c.Found, c.Advice = Warning, err.Error(), "check the disk: df"
		return c
	}
	c.Found = terminal.FormatBytes(free) + " free for " + m.RunDir
	switch {
	case free < leastDisk:
		c.State = Failed
	case free < enoughDisk:
		c.State = Warning
	}
	if c.State != OK {
		c.Advice = "free space, write elsewhere (--run-dir DIR), or keep fewer checkpoints (--keep 2)"
	}
	if c.State == OK && host.InContainer(m.Root, m.Env) && host.GoesWithContainer(m.Root, m.RunDir) {
		c.State = Warning
		c.Advice = "the folder is lost with the container: mount one of the host (docker run -v \"$PWD/runs:/runs\")"
	}
	return c
}

// writable reports why files cannot be created in a folder, or in the nearest one above
// it that exists.
func writable(dir string) error {
	dir, info, err := nearest(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%s is not writable by this user (uid %d): %w", dir, os.Getuid(), err)
	}
	return nil
}

// nearest returns a path in full, or that of the nearest folder above it that exists.
func nearest(path string) (full string, info os.FileInfo, err error) {
	if full, err = filepath.Abs(path); err != nil {
		return "", nil, err
	}
	for {
		info, err = os.Stat(full)
		if !errors.Is(err, fs.ErrNotExist) || full == filepath.Dir(full) {
			return full, info, err
		}
		full = filepath.Dir(full)
	}
}

// decoder checks libjpeg-turbo.
func (m Machine) decoder() Check {
	c := Check{Name: "jpeg decoder", State: OK, Found: "libjpeg-turbo"}
	if err := m.Turbo(); err != nil {
		c.State, c.Found = Warning, "Go's, which is slower and differs from Pillow's pixels by a few grey levels: "+err.Error()
		c.Advice = "install libjpeg-turbo: apt install libturbojpeg0, dnf install turbojpeg, or conda install libjpeg-turbo"
	}
	return c
}

// openFiles checks the limit on open files.
func (m Machine) openFiles() Check {
	const enough = 1024
	c := Check{Name: "open files", State: OK}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		c.State, c.Found, c.Advice = Warning, err.Error(), "check ulimit -n"
		return c
	}
	c.Found = fmt.Sprintf("limit %d", limit.Max)
	if limit.Max == unix.RLIM_INFINITY {
		c.Found = "no limit"
	}
	if limit.Max < enough {
		c.State, c.Advice = Warning, "raise the limit: ulimit -Hn 4096, or docker run --ulimit nofile=4096; data sets in many shards keep each open"
	}
	return c
}
