package host

import (
	"strings"
	"testing"
	"testing/fstest"
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
		if got := InContainer(files(test.files), lookup(test.env)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
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
		{"a mount in a mount", root + "602 600 8:1 /home/me /data rw - ext4 /dev/sda1 rw\n603 602 0:70 / /data/tmp rw - tmpfs tmpfs rw\n", "/data/tmp/x", true},
		{"a space", root + `602 600 8:1 /a /my\040runs rw - ext4 /dev/sda1 rw` + "\n", "/my runs/001", false},
		{"mounted over", root + "602 600 8:1 /a /runs rw - ext4 /dev/sda1 rw\n603 602 0:70 / /runs rw - tmpfs tmpfs rw\n", "/runs/001", true},
		{"unknown", "", "/runs/001", false},
	} {
		if got := GoesWithContainer(files(map[string]string{"proc/self/mountinfo": test.mounts}), test.dir); got != test.want {
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
		got := GPUHint(test.container, test.forGPUs, test.hardware)
		if (got != "") != (test.want != "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q", test.name, got)
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
		if got := HasGPU(files(test.files)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// lookup is an environment of only the given variables.
func lookup(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := pairs[name]
		return v, ok
	}
}
