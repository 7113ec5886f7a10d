package train

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
)

// muchContention is the share of the time for which threads wait for a core from which
// on a run says so. All threads wait for the last one in each of the thousand loops of
// a step that they share: of three programs on two cores each takes ten times as long,
// not half as long again.
const muchContention = 0.3

// contentionInterval is how long threads are watched before a run says so.
const contentionInterval = 10 * time.Second

// contention watches whether other programs want the cores that training computes on.
type contention struct {
	since  time.Time
	queued time.Duration // until then, of all threads
	told   bool
}

// share returns for which share of the time since it was last known threads have waited
// for cores, and whether that is known by now.
func (c *contention) share(now time.Time, queued time.Duration) (share float64, known bool) {
	elapsed := now.Sub(c.since)
	if elapsed < contentionInterval {
		return 0, false
	}
	share, known = float64(queued-c.queued)/float64(elapsed), !c.since.IsZero()
	c.since, c.queued = now, queued
	return share, known
}

// tellContention says once that training waits for cores that other programs have.
func (t *Trainer) tellContention() {
	c := &t.contention
	if c.told || t.device.Type != gotorch.CPU || t.config.Train.Threads < 2 {
		return
	}
	queued, counted := queuedThreads(os.DirFS("/proc/self/task"))
	share, known := c.share(time.Now(), queued)
	if !counted || !known || share < muchContention {
		return
	}
	c.told = true
	t.log.Warn("other programs want the cores that training computes on, which makes it many times slower",
		zap.String("threads_wait", fmt.Sprintf("%.0f %% of the time", 100*min(share, 1))), zap.Int("threads", t.config.Train.Threads),
		zap.String("cure", "end them, or leave cores to them by --threads"))
}

// queuedThreads returns for how long threads have waited for a core since they began, all
// together; tasks is their folder of Linux's /proc. It is not known where the kernel does
// not count it.
func queuedThreads(tasks fs.FS) (queued time.Duration, known bool) {
	entries, err := fs.ReadDir(tasks, ".")
	if err != nil {
		return 0, false
	}
	for _, e := range entries {
		text, err := fs.ReadFile(tasks, e.Name()+"/schedstat") // time on a core, time waiting for one, in nanoseconds; turns
		if err != nil {
			continue // the thread has ended
		}
		fields := strings.Fields(string(text))
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err == nil {
			queued, known = queued+time.Duration(n), true
		}
	}
	return queued, known
}
