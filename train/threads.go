package train

import (
	"fmt"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/internal/threads"
)

// setThreads sets libtorch's number of threads on the CPU, and whether it adapts to the load
// of other programs. It does not adapt with several processes: with different numbers of
// threads the gradient norm, and so the weights, could differ in the last bit between ranks.
func (t *Trainer) setThreads() {
	o, onCPU := &t.config.Train, t.device.Type == gotorch.CPU
	if o.Threads == 0 {
		o.AdaptThreads = onCPU && t.group.Size() == 1 && !o.Deterministic && !threads.Chosen(0)
	}
	o.Threads = t.group.SetThreads(o.Threads)
	if onCPU {
		t.threads = threads.NewAdapter(threads.Options{Fixed: !o.AdaptThreads, Log: t.log})
	}
}

// adaptThreads adapts the number of threads to the load of other programs, if enabled.
func (t *Trainer) adaptThreads() {
	if n := t.threads.Adapt(zap.Int("step", t.current)); n > 0 {
		t.adapted.note(n, t.current)
	}
}

// adaptThreadsAt calls adaptThreads between two timesteps of an evaluation.
func (t *Trainer) adaptThreadsAt(_, _ int) error {
	t.adaptThreads()
	return nil
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
