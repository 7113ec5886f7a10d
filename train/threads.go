package train

import (
	"fmt"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/distributed"
	"iddpm/internal/threads"
)

// cpuThreads is libtorch's number of threads on the CPU, which may adapt to the load of other
// programs.
type cpuThreads struct {
	adapter *threads.Adapter // nil: the number is fixed
	history threadHistory
}

// newCPUThreads sets the number of threads, and whether it adapts. It does not adapt with
// several processes: with different numbers of threads the gradient norm, and so the weights,
// could differ in the last bit between ranks.
func newCPUThreads(o *Options, device gotorch.Device, group *distributed.Group, log *zap.Logger) cpuThreads {
	onCPU := device.Type == gotorch.CPU
	if o.Threads == 0 {
		o.AdaptThreads = onCPU && group.Size() == 1 && !o.Deterministic && !threads.Chosen(0)
	}
	o.Threads = group.SetThreads(o.Threads)
	if !onCPU {
		return cpuThreads{}
	}
	return cpuThreads{adapter: threads.NewAdapter(threads.Options{Fixed: !o.AdaptThreads, Log: log})}
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
