package distributed

import (
	"os"
	"runtime"

	"github.com/wangkuiyi/gotorch"
)

// CPUs returns how many cores of this machine there are for this process: its share of
// those that the program may use. GOMAXPROCS says how many these are, which by default
// heeds a container's quota, as of docker run --cpus.
func (g *Group) CPUs() int {
	return max(1, min(runtime.GOMAXPROCS(0), runtime.NumCPU())/g.LocalSize())
}

// SetThreads sets how many threads work on the CPU and returns how many there are: n,
// or where that is 0 as many as OMP_NUM_THREADS says, or else one per core, but no more
// than [Group.CPUs]. libtorch knows of no quota, and with more threads than that would
// spend it on waiting.
func (g *Group) SetThreads(n int) int {
	if n == 0 && g.CPUs() < runtime.NumCPU() && os.Getenv("OMP_NUM_THREADS") == "" {
		n = min(g.CPUs(), int(gotorch.GetNumThreads()))
	}
	if n > 0 {
		gotorch.SetNumThreads(int32(n))
	}
	return int(gotorch.GetNumThreads())
}
