package doctor

import (
	"errors"
	"os"
	"runtime"

	"github.com/wangkuiyi/gotorch"
	"golang.org/x/sys/unix"

	"iddpm/data/imaging/turbojpeg"
	"iddpm/internal/host"
)

// ThisMachine returns the machine that the program runs on. runDir is where run folders
// are written.
func ThisMachine(runDir string) Machine {
	return Machine{
		Root: os.DirFS("/"), Env: os.LookupEnv, Processors: runtime.NumCPU(), RunDir: runDir,
		ForGPUs: host.BuiltForGPUs(), Free: freeSpace, Load: tryTensor, GPUs: host.UsableGPUs, Turbo: turbojpeg.Available,
	}
}

// tryTensor loads libtorch and computes with it.
func tryTensor() error {
	if err := gotorch.LoadLibrary(); err != nil {
		return err
	}
	var sum float64
	var err error
	gotorch.Run(func() {
		err = gotorch.Try(func() {
			gotorch.Scope(func() {
				x := gotorch.FullOn(gotorch.Device{}, gotorch.Float, 0.5, 8, 8)
				sum = gotorch.MM(x, x).Sum().Float64()
			})
		})
	})
	if err == nil && sum != 128 {
		err = errors.New("libtorch computes wrong products: the installation or the processor is damaged")
	}
	return err
}

// freeSpace returns the free bytes of the file system of a path, or of the nearest folder above
// it that exists.
func freeSpace(path string) (int64, error) {
	path, _, err := nearest(path)
	if err != nil {
		return 0, err
	}
	var s unix.Statfs_t
	err = unix.Statfs(path, &s)
	return int64(s.Bavail) * s.Bsize, err
}
