// Package docker contains the tests of the files that build the container images.
package docker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"golang.org/x/sys/unix"
)

// root is the root of the tree.
const root = ".."

// TestDockerignore checks that .dockerignore includes all files that the build reads, and
// excludes users' files and files that do not affect the program.
func TestDockerignore(t *testing.T) {
	file, err := os.Open(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	ignored := func(path string) bool {
		is, err := matcher.MatchesOrParentMatches(path)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	needed := append(sources(t), "go.mod", "go.sum", "gotorch/go.mod", "gotorch/go.sum", "Makefile", "LICENSE", "NOTICE", "LIBTORCH_VERSION",
		".git/HEAD", ".git/refs/heads/main", ".git/packed-refs", "csrc/iddpm.h", "csrc/tensor.cc", "csrc/gloo/x/y.h", "csrc/kernels/philox.h",
		"csrc/cuda/nccl.cc", "csrc/cuda/philox.cu", "scripts/libtorch.py", "scripts/wheels/libtorch.txt", "docker/collect.sh")
	if len(needed) < 200 {
		t.Errorf("only %d files are looked at", len(needed))
	}
	for _, path := range needed {
		if ignored(path) {
			t.Errorf("%s is kept from the build: .dockerignore must name it", path)
		}
	}
	for _, path := range []string{"runs/001-emoji/checkpoints/ckpt-000100.pt", "photos/a.jpg", "data/photos/a.jpg", "data/cifar.zip", "samples.npz", "ckpt.pt",
		"README.md", "docs/paper.md", "bench/RESULTS.md", "build/iddpm", ".git/objects/ab/cdef", ".git/config", ".ci/run", "Dockerfile",
		"cmd/iddpm/args_test.go", "data/testdata/x.zip", "tools/dry-gpu/nccl.cc", "csrc/cuda/emulated/target.h", "scripts/libtorch_test.py"} {
		if !ignored(path) {
			t.Errorf("%s goes to the build: a change of it compiles everything again", path)
		}
	}
}

// sources returns the Go files of the program.
func sources(t *testing.T) (files []string) {
	t.Helper()
	const format = `{{with .Module}}{{if or .Main .Replace}}{{$d := $.Dir}}` +
		`{{range $.GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range $.CgoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range $.CFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}` +
		`{{range $.HFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range $.EmbedFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`
	list := exec.Command("go", "list", "-deps", "-f", format, "./cmd/iddpm")
	list.Dir, list.Stderr = root, os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(out)) {
		path, err := filepath.Rel(top, path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	return files
}

// TestVersion reads the version from a .git folder without history.
func TestVersion(t *testing.T) {
	const hash = "0123456789abcdef0123456789abcdef01234567"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a branch", map[string]string{"HEAD": "ref: refs/heads/main\n", "refs/heads/main": hash + "\n"}, "0123456"},
		{"a packed branch", map[string]string{"HEAD": "ref: refs/heads/main\n", "packed-refs": "# pack-refs with: peeled\nffff refs/heads/maine\n" + hash + " refs/heads/main\n"}, "0123456"},
		{"a commit", map[string]string{"HEAD": hash + "\n"}, "0123456"},
		{"no commit yet", map[string]string{"HEAD": "ref: refs/heads/main\n"}, "unknown"},
		{"no .git", nil, "unknown"},
	} {
		git := t.TempDir()
		for name, text := range test.files {
			path := filepath.Join(git, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.Command("./version.sh", git).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != test.want {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
	}
}

// TestCheckNamesAnOldBase runs check.sh with the output of ldd on a base image that is too old.
func TestCheckNamesAnOldBase(t *testing.T) {
	for _, test := range []struct {
		ldd    string
		status int
		want   string
	}{
		{"libc.so.6 => /lib/libc.so.6 (0x1)\nlibcuda.so.1 => not found", 0, ""},
		{"./iddpm: /lib/libc.so.6: version `GLIBC_2.38' not found (required by ./iddpm)", 1, "GLIBC_2.38"},
		{"libstdc++.so.6 => not found", 1, "set BASE and CUDA_BASE"},
	} {
		bin := t.TempDir()
		script := "#!/bin/sh\ncat <<'END'\n" + test.ldd + "\nEND\n"
		if err := os.WriteFile(filepath.Join(bin, "ldd"), []byte(script), 0o777); err != nil {
			t.Fatal(err)
		}
		check := exec.Command("./check.sh", bin)
		check.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, _ := check.CombinedOutput()
		if got := check.ProcessState.ExitCode(); got != test.status || !strings.Contains(string(out), test.want) {
			t.Errorf("%q: status %d: %s", test.ldd, got, out)
		}
	}
}

// TestCollectedForAGPU has collect.sh gather libraries of no content: it ships those of NVRTC and of cuDNN, and not the
// hundreds of megabytes that nothing opens. check_cuda.py, which the build runs on the real ones, finds a library that
// is named in one that is shipped.
func TestCollectedForAGPU(t *testing.T) {
	wheels := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(wheels, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	version, err := os.ReadFile(filepath.Join(root, "LIBTORCH_VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	write("torch/version.py", "__version__ = '"+strings.TrimSpace(string(version))+"'\n")
	write("torch/include/ATen/ATen.h", "")
	for _, name := range []string{"libtorch_cpu.so", "libtorch_cuda.so", "libtorch_python.so", "libshm.so"} {
		write("torch/lib/"+name, "-")
	}
	write("torch-1.dist-info/LICENSE", "")
	write("nvidia_x-1.dist-info/LICENSE", "")
	shipped := []string{"cu13/lib/libnvrtc.so.13", "cu13/lib/libnvrtc-builtins.so.13.0", "cu13/lib/libcusolver.so.12", "cu13/lib/libcupti.so.13",
		"cudnn/lib/libcudnn_engines_runtime_compiled.so.9", "nvshmem/lib/nvshmem_bootstrap_uid.so.3"}
	for _, name := range append(slices.Clone(shipped), "cu13/lib/libnvrtc.alt.so.13", "cu13/lib/libnvrtc-builtins.alt.so.13.0",
		"cu13/lib/libcusolverMg.so.12", "cu13/lib/libnvvm.so.4", "cu13/lib/libnvperf_host.so", "cu13/lib/libnvperf_target.so") {
		write("nvidia/"+name, "-")
	}
	t.Setenv("LIBTORCH", filepath.Join(wheels, "torch"))
	image := t.TempDir()
	if out, err := exec.Command("./collect.sh", "cuda", image, "libraries").CombinedOutput(); err != nil {
		t.Fatalf("collect.sh: %v\n%s", err, out)
	}
	got, err := filepath.Glob(filepath.Join(image, "nvidia/*/lib/*"))
	for i, path := range got {
		got[i] = strings.TrimPrefix(path, filepath.Join(image, "nvidia")+"/")
	}
	slices.Sort(shipped)
	if err != nil || !slices.Equal(got, shipped) {
		t.Errorf("shipped %q, want %q", got, shipped)
	}
	if err := os.WriteFile(filepath.Join(image, "nvidia/cu13/lib/libcusolver.so.12"), []byte("\x00libnvvm.so.4\x00"), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("./check_cuda.py", image).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "libnvvm.so.4, which libcusolver.so.12 names") {
		t.Errorf("check_cuda.py: %v, %s", err, out)
	}
}

// TestMain lets the test binary act as a container runtime: see run.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_RUNTIME") != "" {
		os.Exit(runtime(os.Args[1], os.Args[2:]))
	}
	os.Exit(m.Run())
}

// runtime runs a command as uid 1000 in its own root, with this machine's /proc and /dev.
func runtime(dir string, command []string) int {
	for _, kernel := range []string{"proc", "dev"} {
		if err := unix.Mount("/"+kernel, filepath.Join(dir, kernel), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			fmt.Fprintln(os.Stderr, "mount:", err)
			return exitNoRuntime
		}
	}
	c := exec.Command(command[0], command[1:]...)
	c.Stdout, c.Stderr, c.Dir = os.Stdout, os.Stderr, "/work"
	c.Env = []string{"HOME=/home/iddpm", "container=oci"}
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
	if os.Getuid() == 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: 1000, Gid: 1000}
	}
	if err := c.Run(); c.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "chroot:", err)
		return exitNoRuntime
	}
	return c.ProcessState.ExitCode()
}

// exitNoRuntime is the exit status if this machine does not allow the namespaces of a container
// runtime.
const exitNoRuntime = 99

// TestCollected runs the files that collect.sh copies as in the image: as uid 1000, in a root
// with only these and the C library. It trains, samples and resumes.
func TestCollected(t *testing.T) {
	if testing.Short() {
		t.Skip("copies half a gigabyte")
	}
	image := t.TempDir()
	collect := exec.Command("./collect.sh", "cpu", filepath.Join(image, "opt/iddpm"))
	if out, err := collect.CombinedOutput(); err != nil {
		t.Fatalf("collect.sh: %v\n%s", err, out)
	}
	for _, dir := range []string{"proc", "dev", "tmp", "work", "home/iddpm/.cache"} {
		path := filepath.Join(image, dir)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, 0o777)); err != nil {
			t.Fatal(err)
		}
	}
	copyLibraries(t, image)
	tiny := strings.Fields("--image-size 8 --num-channels 32 --num-res-blocks 1 --channel-mult 1 --attention-resolutions 8 --num-heads 1 --diffusion-steps 8 --noise-schedule cosine --batch-size 4 --threads 1 --device cpu")
	for _, args := range [][]string{
		append([]string{"train", "--steps", "2"}, tiny...),
		{"sample", "runs/001-custom", "--num-samples", "2", "--device", "cpu"},
		{"resume", "runs/001-custom", "--steps", "3", "--device", "cpu"},
	} {
		c := exec.Command(os.Args[0], append([]string{image, "/opt/iddpm/iddpm"}, args...)...)
		c.Env = append(os.Environ(), "TEST_AS_RUNTIME=1")
		c.SysProcAttr = namespaces()
		out, err := c.CombinedOutput()
		if c.ProcessState == nil || c.ProcessState.ExitCode() == exitNoRuntime {
			t.Skipf("not tried: %v here keeps tests from a root of their own, which takes root or user namespaces\n%s", err, out)
		}
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(image, "work/runs/001-custom/checkpoints/ckpt-000003.pt")); err != nil {
		t.Error(err)
	}
}

// namespaces lets a process mount and change its root: as root, or in a user namespace that maps
// the user to uid 1000.
func namespaces() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}}
		a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT}
	}
	return a
}

// copyLibraries copies this machine's C and C++ libraries that the program and libtorch need, as
// a bare base image has them.
func copyLibraries(t *testing.T, image string) {
	t.Helper()
	lib := filepath.Join(image, "opt/iddpm")
	out, err := exec.Command("ldd", filepath.Join(lib, "iddpm"), filepath.Join(lib, "libiddpm.so")).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.Fields(string(out)) {
		if !strings.HasPrefix(word, "/") || strings.HasSuffix(word, ":") || strings.HasPrefix(word, image) {
			continue
		}
		text, err := os.ReadFile(word)
		to := filepath.Join(image, word)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, text, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
}
