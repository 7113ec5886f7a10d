package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/wangkuiyi/gotorch"
)

// files returns a file system of texts by path.
func files(texts map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range texts {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

func TestInContainer(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		env   map[string]string
		want  bool
	}{
		{"a machine", map[string]string{"etc/hosts": ""}, nil, false},
		{"docker", map[string]string{".dockerenv": ""}, nil, true},
		{"podman", map[string]string{"run/.containerenv": ""}, nil, true},
		{"kubernetes", nil, map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, true},
		{"our image", nil, map[string]string{"container": "oci"}, true},
	} {
		if got := inContainer(files(test.files), variables(test.env)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestMountedAtRoot(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("here.pt", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	root := files(map[string]string{"ckpt.pt": "", "here.pt": "", "data/ckpt.pt": ""})
	for name, want := range map[string]string{"ckpt.pt": "/ckpt.pt", "./data/ckpt.pt": "/data/ckpt.pt", "here.pt": "here.pt", "data": "data",
		"none.pt": "none.pt", "/ckpt.pt": "/ckpt.pt", "../ckpt.pt": "../ckpt.pt"} {
		if got := mountedAtRoot(root, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestGoesWithContainer(t *testing.T) {
	const (
		id   = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		root = "600 500 0:60 / / rw,relatime master:1 - overlay overlay rw\n601 600 0:61 / /proc rw - proc proc rw\n"
	)
	for _, test := range []struct {
		name, mounts, dir string
		want              bool
	}{
		{"no mount", root, "/runs/001-emoji", true},
		{"a folder of the host", root + "602 600 8:1 /home/me/runs /runs rw - ext4 /dev/sda1 rw\n", "/runs/001-emoji", false},
		{"the mount itself", root + "602 600 8:1 /home/me/runs /runs rw - ext4 /dev/sda1 rw\n", "/runs", false},
		{"beside it", root + "602 600 8:1 /home/me/runs /runs rw - ext4 /dev/sda1 rw\n", "/runs2/001-emoji", true},
		{"a volume", root + "602 600 8:1 /var/lib/docker/volumes/runs/_data /runs rw master:1 - ext4 /dev/sda1 rw\n", "/runs/001", false},
		{"a volume without a name", root + "602 600 8:1 /var/lib/docker/volumes/" + id + "/_data /runs rw - ext4 /dev/sda1 rw\n", "/runs/001", true},
		{"containerd's", root + "602 600 8:1 /containers/x/volumes/" + id + " /runs rw - ext4 /dev/sda1 rw\n", "/runs/001", true},
		{"memory", root + "602 600 0:70 / /runs rw - tmpfs tmpfs rw\n", "/runs/001", true},
		{"a mount in a mount", root + "602 600 8:1 /home/me /work rw - ext4 /dev/sda1 rw\n603 602 0:70 / /work/tmp rw - tmpfs tmpfs rw\n", "/work/tmp/x", true},
		{"a space", root + `602 600 8:1 /a /my\040runs rw - ext4 /dev/sda1 rw` + "\n", "/my runs/001", false},
		{"mounted over", root + "602 600 8:1 /a /runs rw - ext4 /dev/sda1 rw\n603 602 0:70 / /runs rw - tmpfs tmpfs rw\n", "/runs/001", true},
		{"unknown", "", "/runs/001", false},
	} {
		if got := goesWithContainer(files(map[string]string{"proc/self/mountinfo": test.mounts}), test.dir); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestGPUHint(t *testing.T) {
	for _, test := range []struct {
		name                         string
		container, forGPUs, hardware bool
		want                         string // "": no hint
	}{
		{"the image for GPUs", true, true, false, "docker run --gpus all"},
		{"the image for GPUs, old driver", true, true, true, "driver 580 or newer"},
		{"the image for CPUs, on a GPU's machine", true, false, true, "use the image iddpm (make image)"},
		{"the image for CPUs", true, false, false, ""},
		{"a GPU's machine", false, true, true, "driver 580 or newer"},
		{"a GPU's machine without make cuda", false, false, true, "`make cuda`"},
		{"a CPU's machine after make cuda", false, true, false, ""},
		{"a CPU's machine", false, false, false, ""},
	} {
		got := gpuHint(test.container, test.forGPUs, test.hardware)
		if (got != "") != (test.want != "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// TestLogFallback checks that a hint, or an unusable GPU, makes the log line a warning.
func TestLogFallback(t *testing.T) {
	for _, test := range []struct {
		reason error
		hint   string
		want   string
	}{
		{gotorch.ErrNoGPU, "", "INFO  running on the CPU"},
		{gotorch.ErrNoGPU, "a cure", "WARN  running on the CPU"},
		{errors.New("the driver is too old"), "", "WARN  running on the CPU"},
	} {
		var log strings.Builder
		p := program{stderr: &log, env: variables(nil)}
		p.newSession(false, false).logFallback(test.reason, test.hint)
		if got := log.String(); !strings.Contains(got, test.want) || !strings.Contains(got, test.reason.Error()) || !strings.Contains(got, test.hint) {
			t.Errorf("%v, %q: %s", test.reason, test.hint, got)
		}
	}
}

// Gloo is worth a line only where shared memory was to be expected.
func TestLogGloo(t *testing.T) {
	for reason, want := range map[string]string{
		"":                         "",
		"rank 1: it has no memory": "INFO  all-reduces go through gloo",
	} {
		var log strings.Builder
		p := program{stderr: &log, env: variables(nil)}
		p.newSession(false, false).logGloo(reason)
		if got := log.String(); (got != "") != (want != "") || !strings.Contains(got, want) || !strings.Contains(got, reason) {
			t.Errorf("%q: %s", reason, got)
		}
	}
}

func TestHasGPU(t *testing.T) {
	const devices = "sys/bus/pci/devices/"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  bool
	}{
		{"none", map[string]string{devices + "0000:00:00.0/vendor": "0x8086\n", devices + "0000:00:00.0/class": "0x030000\n"}, false},
		{"the driver", map[string]string{"proc/driver/nvidia/version": "NVRM version: 535\n"}, true},
		{"WSL", map[string]string{"dev/dxg": ""}, true},
		{"a 3D controller", map[string]string{devices + "0000:3b:00.0/vendor": "0x10de\n", devices + "0000:3b:00.0/class": "0x030200\n"}, true},
		{"a network adapter", map[string]string{devices + "0000:3b:00.0/vendor": "0x10de\n", devices + "0000:3b:00.0/class": "0x020000\n"}, false},
	} {
		if got := hasGPU(files(test.files)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestWarnOfLoss checks the warning for a run folder in a container's own file system.
func TestWarnOfLoss(t *testing.T) {
	dir := t.TempDir()
	for _, container := range []bool{true, false} {
		var log strings.Builder
		p := program{stderr: &log, env: variables(nil)}
		s := p.newSession(false, false)
		s.container = container
		s.warnOfLoss(dir)
		want := container && goesWithContainer(os.DirFS("/"), dir)
		if got := strings.Contains(log.String(), "lost when the container is removed"); got != want {
			t.Errorf("in a container: %v: %q", container, log.String())
		}
	}
}
