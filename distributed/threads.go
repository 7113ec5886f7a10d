package distributed

import (
	"os"
	"runtime"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/cgroup"
)

// CPUs returns how many cores of this machine there are for this process: its share of
// those that the program may use, by GOMAXPROCS and by a container's quota.
func (g *Group) CPUs() int {
	return cpus(min(runtime.GOMAXPROCS(0), runtime.NumCPU()), cgroup.CPUQuota(os.DirFS("/")), g.LocalSize())
}

// cpus parts cores, or a quota of their time if that is less, among processes. The quota is
// rounded down: all threads of an operator wait for the one that the kernel keeps from
// running until the next period. GOMAXPROCS is rounded up, and at least 2.
func cpus(cores int, quota float64, processes int) int {
	return max(1, int(min(float64(cores), quota)/float64(processes)))
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
