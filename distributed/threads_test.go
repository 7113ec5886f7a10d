package distributed

import (
	"math"
	"runtime"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// One thread per core is libtorch's default; a quota, of which Go knows by GOMAXPROCS, and
// the other processes of the machine leave less.
func TestThreads(t *testing.T) {
	cores := runtime.NumCPU()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	defer gotorch.Configure(gotorch.CurrentSettings())
	for _, test := range []struct {
		name       string
		gomaxprocs int
		processes  int
		omp        string
		asked      int
		want       int
	}{
		{"default", cores, 1, "", 0, cores},
		{"GOMAXPROCS beyond the machine", 2 * cores, 1, "", 0, cores},
		{"quota", 1, 1, "", 0, 1},
		{"quota, OMP_NUM_THREADS", 1, 1, "any", 0, cores},
		{"quota, --threads", 1, 1, "", cores + 1, cores + 1},
		{"processes", cores, 2, "", 0, max(1, cores/2)},
		{"processes, OMP_NUM_THREADS", cores, 2, "any", 0, cores},
		{"processes, --threads", cores, 2, "any", 3, 3},
		{"processes, quota", 1, 2, "", 0, 1},
	} {
		gotorch.Configure(gotorch.Settings{Threads: cores})
		runtime.GOMAXPROCS(test.gomaxprocs)
		t.Setenv("OMP_NUM_THREADS", test.omp)
		g := &Group{at: Placement{LocalWorldSize: test.processes}}
		if test.processes == 1 {
			g = nil
		}
		if got := g.Threads(test.asked); got != test.want {
			t.Errorf("%s: %d threads, not %d", test.name, got, test.want)
		}
	}
}

// docker run --cpus, on eight cores.
func TestCPUs(t *testing.T) {
	for _, test := range []struct {
		quota     float64
		processes int
		want      int
	}{
		{math.Inf(1), 1, 8}, {math.Inf(1), 3, 2}, {0.5, 1, 1}, {1, 1, 1}, {1.5, 1, 1}, {1.99, 1, 1}, {2, 1, 2}, {2.5, 1, 2}, {12, 1, 8},
		{4, 2, 2}, {3, 2, 1}, {1, 8, 1},
	} {
		if got := cpus(8, test.quota, test.processes); got != test.want {
			t.Errorf("a quota of %g in %d processes: %d threads, want %d", test.quota, test.processes, got, test.want)
		}
	}
}
