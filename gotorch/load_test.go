package gotorch

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	if what := os.Getenv("GOTORCH_TEST_CHILD"); what != "" {
		child(what)
		return
	}
	os.Exit(m.Run())
}

// child is what this program does when a test starts it as a new process: each case
// is the process's first call of gotorch.
func child(what string) {
	firsts := map[string]func(){
		"LoadLibrary":   func() {},
		"Zeros":         func() { zeros(1) },
		"ZeroGrads":     func() { ZeroGrads(nil) },
		"TotalNorm":     func() { TotalNorm(nil) },
		"Cat":           func() { Cat(nil, 0) },
		"GC":            GC,
		"NoGrad":        func() { NoGrad(func() {}) },
		"Run":           func() { Run(func() {}) },
		"IsGradEnabled": func() { IsGradEnabled() },
		"CPU memory":    func() { EmptyCPUCache(); GetCPUMemoryStats() },
		"default settings": func() { // the zero value is what libtorch starts with
			if s := CurrentSettings(); s.Threads < 1 || s != (Settings{Threads: s.Threads}) {
				panic(&Error{Op: "CurrentSettings", Message: fmt.Sprintf("%+v", s)})
			}
		},
		"zero values": func() {
			Tensor{}.Free()
			Tensor{}.MoveOut()
			Tensor{}.Unscoped()
			_ = Tensor{}.String()
			AdamW(AdamWOptions{}).Close()
		},
	}
	err := Try(firsts[what])
	if err == nil {
		err = LoadLibrary()
	}
	if err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(3)
	}
}

// startChild runs child in a process with this $LIBTORCH; "-" unsets it.
func startChild(t *testing.T, what, libtorch string) (output string, code int) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LIBTORCH=") || libtorch == "" {
			c.Env = append(c.Env, v)
		}
	}
	c.Env = append(c.Env, "GOTORCH_TEST_CHILD="+what)
	if libtorch != "" && libtorch != "-" {
		c.Env = append(c.Env, "LIBTORCH="+libtorch)
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err = c.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return out.String(), c.ProcessState.ExitCode()
}

// TestWrongLibtorch sets LIBTORCH to folders that must be rejected.
func TestWrongLibtorch(t *testing.T) {
	folder := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	const python = "__version__ = '%'\ndebug = False\n"
	version := func(format, v string) string { return strings.Replace(format, "%", v, 1) }
	const cmake = "set(PACKAGE_VERSION \"%\")\n"
	for _, c := range []struct {
		name, folder string
		says         []string
	}{
		{"older wheel", folder(map[string]string{"version.py": version(python, "2.10.0+cpu")}), []string{"libtorch 2.10.0,", "needs 2.11.0", "make build"}},
		{"newer archive", folder(map[string]string{"build-version": "2.12.1+cu130\n"}), []string{"libtorch 2.12.1,", "needs 2.11.0"}},
		{"other cmake", folder(map[string]string{"share/cmake/Torch/TorchConfigVersion.cmake": version(cmake, "1.6.0")}), []string{"libtorch 1.6.0,", "needs 2.11.0"}},
		{"no libtorch", folder(nil), []string{"contains no libtorch", "set it to the folder that contains lib/libtorch_cpu.so", "make build"}},
		{"no folder", filepath.Join(t.TempDir(), "nothing"), []string{"contains no libtorch", "make build"}},
		{"no library", folder(map[string]string{"version.py": version(python, "2.11.0")}), []string{"cannot load libtorch 2.11.0", "libtorch_cpu.so", "make build"}},
		{"broken library", folder(map[string]string{"version.py": version(python, "2.11.0"), "lib/libtorch_cpu.so": "not ELF"}), []string{"libtorch_cpu.so", "make build"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, what := range []string{"LoadLibrary", "Zeros", "ZeroGrads", "Run"} {
				out, code := startChild(t, what, c.folder)
				if code != 3 {
					t.Errorf("%s: exit code %d: %s", what, code, out)
				}
				for _, s := range append(c.says, c.folder) {
					if !strings.Contains(out, s) {
						t.Errorf("%s: the message lacks %q: %s", what, s, out)
					}
				}
			}
		})
	}
}

// TestLacksCUDARuntime loads a libtorch whose package was installed without those that it requires.
func TestLacksCUDARuntime(t *testing.T) {
	folder := t.TempDir()
	lib := filepath.Join(folder, "lib")
	if err := os.Mkdir(lib, 0o755); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "libcupti.so.13")
	for _, args := range [][]string{
		{"-shared", "-Wl,-soname,libcupti.so.13", "-o", missing, "-xc", os.DevNull},
		{"-shared", "-Wl,--no-as-needed", "-o", filepath.Join(lib, "libtorch_cpu.so"), missing},
	} {
		if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
			t.Fatalf("cc: %v\n%s", err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "version.py"), []byte("__version__ = '"+Version+"'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := startChild(t, "LoadLibrary", folder); code != 3 || !strings.Contains(out, "libcupti.so.13") || !strings.Contains(out, "--no-deps") {
		t.Errorf("exit %d, %q", code, out)
	}
}

// TestOtherBuild replaces our library by one that was built from other declarations.
func TestOtherBuild(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "other.c")
	if err := os.WriteFile(source, []byte(`const char gt_declarations[] = "void gt_free(int);";`), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-o", filepath.Join(dir, "libiddpm.so"), source).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	t.Setenv("LD_LIBRARY_PATH", dir)
	if out, code := startChild(t, "LoadLibrary", "-"); code != 3 || !strings.Contains(out, "another build") {
		t.Errorf("exit %d, %q: want a refusal of another build", code, out)
	}
}

// TestFirstCall makes each of these the first call of a process: each must load
// libtorch first.
func TestFirstCall(t *testing.T) {
	for what, says := range map[string]string{
		"ZeroGrads": "", "CPU memory": "", "default settings": "", "GC": "", "NoGrad": "", "Run": "", "IsGradEnabled": "", "zero values": "",
		"TotalNorm": "the total norm of no tensors",
		"Cat":       "non-empty list of Tensors",
	} {
		out, code := startChild(t, what, "")
		if want := map[bool]int{true: 0, false: 3}[says == ""]; code != want || !strings.Contains(out, says) {
			t.Errorf("%s: exit code %d: %s", what, code, out)
		}
	}
}

// TestNoGPU uses CUDA on a machine without a GPU.
func TestNoGPU(t *testing.T) {
	if LoadCUDA() == nil {
		t.Skip("this machine has a GPU: cuda_test.go is for it")
	}
	if err := LoadCUDA(); err == nil || CUDADeviceCount() != 0 {
		t.Errorf("LoadCUDA: %v, %d devices", err, CUDADeviceCount())
	}
	for name, f := range map[string]func(){
		"ZerosOn":      func() { ZerosOn(Device{Type: CUDA}, Float, 1) },
		"To":           func() { one().To(Device{Type: CUDA, Index: 1}) },
		"PinMemory":    func() { one().PinMemory() },
		"NewGenerator": func() { NewGenerator(Device{Type: CUDA}, 1) },
	} {
		if err := mustFail(t, f); !strings.Contains(err.Message, "driver") && !strings.Contains(err.Message, "device") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if one().Add(one(), 1).Float64() != 2 {
		t.Error("the CPU is gone too")
	}
}

// TestMissingDriver distinguishes a machine without a GPU from a container without
// the driver's libraries.
func TestMissingDriver(t *testing.T) {
	module := filepath.Join(t.TempDir(), "version")
	if err := missingDriver(module); !errors.Is(err, ErrNoGPU) {
		t.Errorf("without the kernel module: %v", err)
	}
	if err := os.WriteFile(module, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := missingDriver(module); errors.Is(err, ErrNoGPU) || !strings.Contains(err.Error(), "--gpus all") {
		t.Errorf("with the kernel module: %v", err)
	}
}

// TestVersionFile compares the constant with the project's LIBTORCH_VERSION.
func TestVersionFile(t *testing.T) {
	pinned, err := os.ReadFile("../LIBTORCH_VERSION")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(pinned)); got != Version {
		t.Errorf("LIBTORCH_VERSION is %s, gotorch.Version is %s", got, Version)
	}
}

// TestClosedLibrary has libraries and a LIBTORCH that another user may not read.
func TestClosedLibrary(t *testing.T) {
	dir := t.TempDir()
	open, closed := filepath.Join(dir, "open.so"), filepath.Join(dir, "libiddpm.so")
	for path, mode := range map[string]os.FileMode{open: 0o644, closed: 0, filepath.Join(dir, "version.py"): 0} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		if err := closedLibrary([]string{filepath.Join(dir, "missing.so"), open, closed}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), closed) {
			t.Errorf("%v, want one that names %s", err, closed)
		}
		if err := closedLibrary([]string{filepath.Join(dir, "missing.so"), open}); err != nil {
			t.Error(err)
		}
		if err := checkVersion(dir); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "let this user") {
			t.Errorf("LIBTORCH: %v", err)
		}
	})
}

// asNobody runs f without root's privilege to read all files.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const nobody = 65534
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	defer syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0)
	f()
}
