package threads

import (
	"cmp"
	"time"
)

// Sample is the processor time that has been used since the machine was started, up to a
// point in time.
type Sample struct {
	At     time.Time
	Cores  int           // that this process may use
	Others time.Duration // used on those cores by all other processes
}

// Controller decides how many threads to compute with: no more than there are cores that
// other processes leave free. Every thread waits for the slowest one in each of a step's
// thousand parallel regions, so that a thread too many costs more than a thread too few.
// Decisions depend on the samples alone.
type Controller struct {
	most, threads int

	last      Sample
	others    float64       // cores that other processes have used since the sample before it
	direction int           // of the change that the samples ask for: -1, 0 or 1
	since     time.Time     // since when they ask for it
	raised    time.Time     // when there last was a thread more
	calm      time.Duration // how long cores must be free before they are used again
}

const (
	interval = time.Second     // between samples that are compared
	patience = 2 * time.Second // how long others must use a core before it is left to them
	minCalm  = 3 * time.Second
	maxCalm  = time.Minute
	// Other processes may use this much of a core before it is left to them, and this much
	// of one that is used again. In between nothing changes.
	tolerance, reuse = 0.4, 0.2
)

// NewController returns a controller that begins with its largest number of threads.
func NewController(most int) *Controller { return &Controller{most: most, threads: most} }

// Next returns how many threads to compute with after a sample: at least one, and at
// least half of the largest number, since others may leave no core free however few
// threads there are.
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

// within returns how many threads fit into so many cores.
func (c *Controller) within(cores float64) int {
	return min(max(int(cores), c.most/2, 1), c.most)
}
