package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/host"
)

const gib = 1 << 30

// fine is a machine without a GPU that can train.
func fine(t *testing.T) Machine {
	return Machine{
		Root: root(map[string]string{"proc/meminfo": "MemAvailable: 8388608 kB\n", "proc/loadavg": "0.50 0.4 0.3 1/100 7\n"}),
		Env:  func(string) (string, bool) { return "", false }, Processors: 4, RunDir: filepath.Join(t.TempDir(), "runs"),
		Free:  func(string) (int64, error) { return 100 * gib, nil },
		Load:  func() error { return nil },
		GPUs:  func() ([]host.GPU, error) { return nil, fmt.Errorf("%w: none here", gotorch.ErrNoGPU) },
		Turbo: func() error { return nil },
	}
}

func root(texts map[string]string) fstest.MapFS {
	files := fstest.MapFS{}
	for name, text := range texts {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

// TestRun changes one thing of a machine at a time.
func TestRun(t *testing.T) {
	const gpuMachine = "proc/driver/nvidia/version"
	with := func(m *Machine, name, text string) { m.Root.(fstest.MapFS)[name] = &fstest.MapFile{Data: []byte(text)} }
	gpu := func(free int64) []host.GPU {
		return []host.GPU{{Device: gotorch.Device{Type: gotorch.CUDA}, CUDAProperties: gotorch.CUDAProperties{Name: "NVIDIA H100", Major: 9, TotalMemory: 80 * gib, FreeMemory: free}}}
	}
	for _, test := range []struct {
		name   string
		change func(*Machine)
		check  string // that is not ok; empty: all are
		state  State
		want   string // within what it found and advises
	}{
		{"fine", func(*Machine) {}, "", OK, ""},
		{"no libtorch", func(m *Machine) { m.Load = func() error { return errors.New("cannot load") } }, "libtorch", Failed, "pip install torch==" + gotorch.Version},
		{"GPU", func(m *Machine) { m.GPUs = func() ([]host.GPU, error) { return gpu(79 * gib), nil } }, "", OK, ""},
		{"busy GPU", func(m *Machine) { m.GPUs = func() ([]host.GPU, error) { return gpu(gib), nil } }, "gpu", Warning, "CUDA_VISIBLE_DEVICES"},
		{"second GPU too old", func(m *Machine) { m.GPUs = func() ([]host.GPU, error) { return gpu(79 * gib), errors.New("too old") } }, "gpu", Warning, "too old"},
		{"GPU without driver", func(m *Machine) { with(m, gpuMachine, ""); m.ForGPUs = true }, "gpu", Warning, "driver 580 or newer"},
		{"old driver", func(m *Machine) {
			with(m, gpuMachine, "")
			m.ForGPUs = true
			m.GPUs = func() ([]host.GPU, error) { return nil, &gotorch.DriverError{Found: 12040, Needed: 13000} }
		}, "gpu", Warning, "update the driver"},
		{"little memory", func(m *Machine) { with(m, "proc/meminfo", "MemAvailable: 1048576 kB\n") }, "memory", Warning, "--batch-size"},
		{"no memory", func(m *Machine) { with(m, "proc/meminfo", "MemAvailable: 104857 kB\n") }, "memory", Failed, "102.4 MiB free"},
		{"busy processors", func(m *Machine) { with(m, "proc/loadavg", "9.50 0 0 1/1 1") }, "threads", Warning, "other programs"},
		{"quota", func(m *Machine) {
			with(m, "proc/self/cgroup", "0::/\n")
			with(m, "sys/fs/cgroup/cpu.max", "50000 100000\n")
		}, "threads", Warning, "quota 0.5"},
		{"shared memory", func(m *Machine) { m.Free = spaceIn("/dev/shm", 64<<20) }, "shared memory", Warning, "--ipc=host"},
		{"little disk", func(m *Machine) { m.Free = spaceIn(m.RunDir, gib) }, "disk", Warning, "--keep 2"},
		{"full disk", func(m *Machine) { m.Free = spaceIn(m.RunDir, 1<<20) }, "disk", Failed, "1.0 MiB free"},
		{"not a folder", func(m *Machine) {
			m.RunDir = filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(m.RunDir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			m.RunDir += "/runs"
		}, "disk", Failed, "not a"},
		{"no libjpeg-turbo", func(m *Machine) { m.Turbo = func() error { return errors.New("libturbojpeg.so.0: not found") } }, "jpeg decoder", Warning, "apt install libturbojpeg0"},
		{"container", func(m *Machine) {
			with(m, ".dockerenv", "")
			with(m, "proc/self/mountinfo", "600 500 0:60 / / rw,relatime master:1 - overlay overlay rw\n")
		}, "disk", Warning, "mount one of the host"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := fine(t)
			test.change(&m)
			checks := Run(m)
			if Healthy(checks) != (test.state != Failed) {
				t.Errorf("healthy: %v", Healthy(checks))
			}
			for _, c := range checks {
				if c.State != OK && c.Name != test.check || c.Name == test.check && c.State != test.state || (c.State == OK) != (c.Advice == "") || c.Found == "" {
					t.Errorf("%+v", c)
				}
				if c.Name == test.check && !strings.Contains(c.Found+" "+c.Advice, test.want) {
					t.Errorf("%+v, want %q", c, test.want)
				}
			}
		})
	}
}

// spaceIn returns the space of a machine with little in one place.
func spaceIn(place string, free int64) func(string) (int64, error) {
	return func(path string) (int64, error) {
		if path == place {
			return free, nil
		}
		return 100 * gib, nil
	}
}

// TestThisMachine checks the machine of the test, on which libtorch computes.
func TestThisMachine(t *testing.T) {
	m := ThisMachine(filepath.Join(t.TempDir(), "a/b"))
	for _, c := range Run(m) {
		if (c.Name == "libtorch" || c.Name == "disk") && c.State == Failed {
			t.Errorf("%+v", c)
		}
	}
	if _, err := m.Free("/absent/folder"); err != nil {
		t.Errorf("the space of an absent folder: %v", err)
	}
}
