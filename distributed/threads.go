package distributed

import (
	"os"
	"runtime"

	"github.com/wangkuiyi/gotorch"
)

// CPUs returns how many cores of this machine there are for this process.
func (g *Group) CPUs() int { return max(1, runtime.NumCPU()/g.LocalSize()) }

// SetThreads sets how many threads work on the CPU and returns how many there are: n,
// or where that is 0 this process's share of the cores.
func (g *Group) SetThreads(n int) int {
	if n == 0 && g.CPUs() < runtime.NumCPU() && os.Getenv("OMP_NUM_THREADS") == "" {
		n = g.CPUs()
	}
	if n > 0 {
		gotorch.SetNumThreads(int32(n))
	}
	return int(gotorch.GetNumThreads())
}
