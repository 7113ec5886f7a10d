package train

import (
	"fmt"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/internal/threads"
)

// setThreads sets how many threads compute on the CPU, and whether that number follows
// what other programs leave free. Several processes keep it: with different numbers the
// norm of their common gradient could differ in its last bit, and with it their weights.
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

// adaptThreads leaves cores to other programs that use them, if the run may.
func (t *Trainer) adaptThreads() {
	if n := t.threads.Adapt(zap.Int("step", t.current)); n > 0 {
		t.adapted.note(n, t.current)
	}
}

// adaptThreadsAt is adaptThreads between two timesteps.
func (t *Trainer) adaptThreadsAt(int) error {
	t.adaptThreads()
	return nil
}

// adaptedThreads is the entry of a checkpoint's environment that says from which step on
// the run computed with how many threads, where that has changed by itself: the last bits
// depend on it.
const adaptedThreads = "adapted_threads"

// threadHistory lists the latest changes of the number of threads, as "1 from step 120".
type threadHistory []string

// maxThreadChanges is how many changes a checkpoint lists.
const maxThreadChanges = 50

func (h *threadHistory) note(threads, step int) {
	*h = append(*h, fmt.Sprintf("%d from step %d", threads, step))
	*h = (*h)[max(0, len(*h)-maxThreadChanges):]
}

func (h threadHistory) String() string { return strings.Join(h, ", ") }

func parseThreadHistory(text string) threadHistory { return strings.Split(text, ", ") }
