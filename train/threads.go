package train

import (
	"fmt"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/distributed"
	"iddpm/internal/threads"
	"iddpm/runconfig"
)

// cpuThreads is libtorch's number of threads on the CPU, which may adapt to the load of other
// programs.
type cpuThreads struct {
	adapter *threads.Adapter // nil: the number is fixed
	history threadHistory
}

// chooseThreads replaces 0 by a number of threads, and then says whether it adapts, if that is
// allowed. It does not adapt with several processes: with different numbers of threads the
// gradient norm, and so the weights, could differ in the last bit between ranks.
func chooseThreads(o *runconfig.Options, device gotorch.Device, group *distributed.Group, mayAdapt bool) {
	if o.Threads == 0 {
		o.AdaptThreads = mayAdapt && device.Type == gotorch.CPU && group.Size() == 1 && !o.Deterministic && !threads.Chosen(0)
	}
	o.Threads = group.Threads(o.Threads)
}

// start begins to observe the load of other programs, and to adapt the number of threads to it
// unless that is fixed. Without a start the number is fixed, too.
func (c *cpuThreads) start(device gotorch.Device, fixed bool, log *zap.Logger) {
	if device.Type == gotorch.CPU {
		c.adapter = threads.NewAdapter(threads.Options{Fixed: fixed, Log: log})
	}
}

// adapt adapts the number of threads to the load of other programs, if enabled, before the
// step after `step` finished ones.
func (c *cpuThreads) adapt(step int) {
	if n := c.adapter.Adapt(zap.Int("step", step)); n > 0 {
		c.history.note(n, step)
	}
}

// adaptedThreads is the key in a checkpoint's environment that lists automatic changes of the
// number of threads. The last bits of the results depend on them.
const adaptedThreads = "adapted_threads"

// threadHistory lists the latest changes of the number of threads, such as "1 from step 120".
type threadHistory []string

// maxThreadChanges is the length of the list in a checkpoint.
const maxThreadChanges = 50

func (h *threadHistory) note(threads, step int) {
	*h = append(*h, fmt.Sprintf("%d from step %d", threads, step))
	*h = (*h)[max(0, len(*h)-maxThreadChanges):]
}

func (h threadHistory) String() string { return strings.Join(h, ", ") }

func parseThreadHistory(text string) threadHistory { return strings.Split(text, ", ") }
