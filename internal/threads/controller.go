package threads

import (
	"cmp"
	"time"
)

// Sample is the CPU time used since boot, up to a point in time.
type Sample struct {
	At     time.Time
	Cores  int           // that this process may use
	Others time.Duration // used on those cores by all other processes
}

// Controller chooses the number of threads: at most the number of cores that other
// processes leave free. Every thread waits for the slowest one in each of a step's
// thousand parallel regions, so a thread too many costs more than a thread too few.
// Decisions depend only on the samples.
type Controller struct {
	most, threads int

	last      Sample
	others    float64       // cores used by other processes since the previous sample
	direction int           // of the change that the samples suggest: -1, 0 or 1
	since     time.Time     // start of that direction
	raised    time.Time     // time of the last increase
	calm      time.Duration // how long cores must be free before an increase
}

const (
	interval = time.Second     // between compared samples
	patience = 2 * time.Second // how long others must use a core before a decrease
	minCalm  = 3 * time.Second
	maxCalm  = time.Minute
	// Hysteresis: the load of other processes, in cores, above which a core is given up and
	// below which it is used again.
	tolerance, reuse = 0.4, 0.2
)

// NewController returns a controller that starts with most threads, its maximum.
func NewController(most int) *Controller { return &Controller{most: most, threads: most} }

// Next returns the number of threads after a sample: at least one, and at least half of
// the maximum, since others may use all cores however few threads there are.
func (c *Controller) Next(s Sample) (threads int) {
	elapsed, first := s.At.Sub(c.last.At), c.since.IsZero()
	if c.last.At.IsZero() {
		c.last = s
		return c.threads
	}
	if elapsed < interval {
		return c.threads
	}
	c.others = max(0, float64(s.Others-c.last.Others)/float64(elapsed))
	free := float64(s.Cores) - c.others
	want := min(max(c.threads, c.within(free+reuse)), c.within(free+tolerance))
	if direction := cmp.Compare(want, c.threads); first || direction != c.direction {
		c.direction, c.since = direction, c.last.At
	}
	c.last = s
	asked := s.At.Sub(c.since)
	switch {
	case c.direction < 0 && (first || asked >= patience):
		c.calm = min(max(2*c.calm, minCalm), maxCalm)
		if s.At.Sub(c.raised) > maxCalm {
			c.calm = minCalm
		}
		c.threads = want
	case c.direction > 0 && asked >= c.calm:
		c.threads, c.raised = want, s.At
	}
	return c.threads
}

// within returns the number of threads for a number of cores.
func (c *Controller) within(cores float64) int {
	return min(max(int(cores), c.most/2, 1), c.most)
}
