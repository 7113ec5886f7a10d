package distributed

import (
	"os"
	"runtime"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/cgroup"
)

// CPUs returns the number of cores for this process: its part of those that the program
// may use by GOMAXPROCS and by a container's quota.
func (g *Group) CPUs() int {
	return cpus(min(runtime.GOMAXPROCS(0), runtime.NumCPU()), cgroup.CPUQuota(os.DirFS("/")), g.LocalSize())
}

// cpus divides cores, or a CPU quota if that is less, among processes. The quota is
// rounded down: all threads of an operator wait for one that the kernel throttles until
// the next period. (GOMAXPROCS is rounded up, and at least 2.)
func cpus(cores int, quota float64, processes int) int {
	return max(1, int(min(float64(cores), quota)/float64(processes)))
}

// Threads returns the number of CPU threads for [gotorch.Settings]: n or, if n is 0, as many
// as libtorch has, at first OMP_NUM_THREADS or else one per core, but without
// OMP_NUM_THREADS at most [Group.CPUs]. libtorch ignores quotas, and would waste them with
// more threads.
func (g *Group) Threads(n int) int {
	if n > 0 {
		return n
	}
	n = gotorch.CurrentSettings().Threads
	if g.CPUs() < runtime.NumCPU() && os.Getenv("OMP_NUM_THREADS") == "" {
		n = min(g.CPUs(), n)
	}
	return n
}
