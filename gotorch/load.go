package gotorch

// #cgo CFLAGS: -I${SRCDIR}/../csrc -O2
// #cgo LDFLAGS: -ldl -Wl,-rpath,$ORIGIN -Wl,-rpath,${SRCDIR}/../build
// #include <stdlib.h>
// #include "iddpm.h"
// #include "iddpm_cuda.h"
// #include "loader.h"
import "C"

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"unsafe"
)

// Version is the libtorch release that gotorch is written and built for. No
// other one is loaded: the C++ interface changes from release to release.
const Version = "2.11.0"

// LoadLibrary loads libtorch. Every function that creates a tensor calls it; a program
// calls it itself to learn early, as an error, that libtorch is missing or has another
// version. It runs once; later calls return the same result.
//
// $LIBTORCH names the folder that contains lib/libtorch_cpu.so. If it is unset,
// the libtorch next to libiddpm.so in the build folder is used.
func LoadLibrary() error { return loadOnce() }

var loadOnce = sync.OnceValue(func() error {
	folder := os.Getenv("LIBTORCH")
	if folder != "" {
		if err := checkVersion(folder); err != nil {
			return err
		}
	}
	if err := openLibrary(folder, func(p *C.char) *C.char { return C.gt_loader_open(p) }); err != nil {
		if closed := closedLibrary(libraryPaths(folder)); closed != nil {
			return fmt.Errorf("cannot load libtorch %s: %w: let this user (uid %d) read that file and enter the folders above it", Version, closed, os.Getuid())
		}
		return fmt.Errorf("cannot load libtorch %s: %w; %s", Version, err, loadHint(err.Error()))
	}
	if built := C.GoString(C.gt_torch_version()); built != Version {
		return fmt.Errorf("libiddpm.so was built with libtorch %s, but this program needs %s: run `make build`", built, Version)
	}
	return nil
})

// loadCUDA loads libtorch's CUDA libraries. It must run before libtorch is first
// queried about CUDA: libtorch caches that CUDA is not available.
var loadCUDA = sync.OnceValue(func() error {
	if err := LoadLibrary(); err != nil {
		return err
	}
	folder := os.Getenv("LIBTORCH")
	if err := openLibrary(folder, func(p *C.char) *C.char { return C.gt_loader_open_cuda(p) }); err != nil {
		return fmt.Errorf("cannot load libtorch's CUDA libraries: %w; run `make build` on a machine with an NVIDIA driver, or `make cuda`, and if LIBTORCH is set, to a libtorch for CUDA 13 (torch %s+cu130)", err, Version)
	}
	C.gt_set_cuda_kernels(C.gt_cuda_kernels())
	return nil
})

func openLibrary(folder string, open func(*C.char) *C.char) error {
	var path *C.char
	if folder != "" {
		path = C.CString(folder)
		defer C.free(unsafe.Pointer(path))
	}
	message := open(path)
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	return errors.New(C.GoString(message))
}

// cudaRuntime matches the loader's message for the libraries of NVIDIA that libtorch_cpu.so of the
// usual torch needs on a machine without a GPU too.
var cudaRuntime = regexp.MustCompile(`\blib(cudart|cupti)\.so`)

// loadHint returns what helps if the dynamic loader failed with a message.
func loadHint(message string) string {
	if cudaRuntime.MatchString(message) {
		return "this torch lacks the NVIDIA packages that pip installs with it: install it without --no-deps, or install PyTorch's build for the CPU (torch " + Version + "+cpu)"
	}
	return "run `make build`, or set LIBTORCH to its folder"
}

// libraryPaths returns the paths of the CPU libraries, next to the program or in the
// folder of $LIBTORCH.
func libraryPaths(folder string) (paths []string) {
	program, err := os.Executable()
	if err == nil {
		paths = append(paths, filepath.Join(filepath.Dir(program), "libiddpm.so"))
	}
	if folder == "" && err == nil {
		folder = filepath.Join(filepath.Dir(program), "libtorch")
	}
	return append(paths, filepath.Join(folder, "lib", "libtorch_cpu.so"))
}

// closedLibrary returns the error of the first file that this user may not read: the
// dynamic loader reports such a file as missing.
func closedLibrary(paths []string) error {
	for _, path := range paths {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrPermission) {
			return err
		}
		if err == nil {
			_ = f.Close()
		}
	}
	return nil
}

func mustLoad() {
	if err := LoadLibrary(); err != nil {
		panic(&Error{Op: "LoadLibrary", Message: err.Error()})
	}
}

var versionLine = regexp.MustCompile(`(?m)^(?:__version__\s*=\s*|set\(PACKAGE_VERSION )?["']?(\d+\.\d+\.\d+)`)

// checkVersion returns an error for a libtorch of another release. A wheel has its
// version in version.py, a libtorch archive in build-version.
func checkVersion(folder string) error {
	for _, name := range []string{"version.py", "build-version", "share/cmake/Torch/TorchConfigVersion.cmake"} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("LIBTORCH=%s: %w: let this user (uid %d) read that file and enter the folders above it", folder, err, os.Getuid())
		}
		if err != nil {
			continue
		}
		m := versionLine.FindSubmatch(text)
		if m == nil {
			continue
		}
		if got := string(m[1]); got != Version {
			return fmt.Errorf("LIBTORCH=%s is libtorch %s, but this program needs %s; point it at that release, or unset it and run `make build`", folder, got, Version)
		}
		return nil
	}
	return fmt.Errorf("LIBTORCH=%s contains no libtorch: it has no version.py, build-version or share/cmake/Torch/TorchConfigVersion.cmake; set it to the folder that contains lib/libtorch_cpu.so, or unset it and run `make build`", folder)
}
