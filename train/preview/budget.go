package preview

import (
	"context"
	"time"

	"go.uber.org/zap"

	"iddpm/distributed"
	"iddpm/train"
)

// budget compares the measured time of grids with that of the steps between them. The interval was
// chosen by an estimate, which other programs may make wrong.
type budget struct {
	step           int       // the last one with a grid, or the first of this process
	at             time.Time // its end; zero: not yet
	trained, spent float64   // seconds of steps, and of their grids
}

// unmarked reports whether the time of the steps since the mark is unknown: in the first step, and
// after a rollback.
func (b *budget) unmarked(step int) bool { return b.at.IsZero() || step < b.step }

// mark begins to time the steps after this one.
func (b *budget) mark(step int, at time.Time) { b.step, b.at = step, at }

// gridOnBudget makes a grid and, if the interval was chosen by cost, chooses a longer one where grids
// have cost more than maxShare of the time.
func (s *Sampler) gridOnBudget(ctx context.Context, t *train.Trainer) error {
	started := s.now()
	if err := s.grid(ctx, t); err != nil {
		return err
	}
	c := t.Config()
	if !c.Samples.Chosen || t.Done() {
		return nil
	}
	ended := s.now()
	if t.Step() == s.budget.step { // after a resume the first step may have a grid
		s.budget.mark(t.Step(), ended)
		return nil
	}
	cost := s.budget.add(c.Samples.Interval, t.Step(), started, ended)
	cost.total = c.Train.TotalSteps()
	interval, err := distributed.Broadcast(t.Environment().Group, s.budget.lengthen(c.Samples.Interval, cost)) // rank 0's times decide
	if err != nil || interval == c.Samples.Interval {
		return err
	}
	what := "interval of sample grids lengthened: they have cost more than 3 % of the time"
	if interval == 0 {
		what = "no more grids of samples: they have cost more than 3 % of the time, and one more would in the rest of the run"
	}
	t.Environment().Log.Info(what, zap.Float64("seconds_per_grid", cost.batch), zap.Float64("seconds_per_step", cost.step),
		zap.Float64("share", s.budget.spent/s.budget.trained), zap.Int("before", c.Samples.Interval), zap.Int("interval", interval))
	c.Samples.Interval = interval
	return t.SetSamples(c.Samples)
}

// add adds a grid at a step, and the steps of an interval before it, of which this process may have
// seen only a part. It returns the costs of the grid, as a batch of its own, and of a step.
func (b *budget) add(interval, step int, started, ended time.Time) costs {
	c := costs{step: started.Sub(b.at).Seconds() / float64(step-b.step), batch: ended.Sub(started).Seconds(), perBatch: 1}
	b.trained += c.step * float64(interval)
	b.spent += c.batch
	b.mark(step, ended)
	return c
}

// lengthen returns the interval, or if grids have cost more than maxShare of the time the next longer
// one of one significant digit with which the next grid, and all of the run, cost at most that; 0
// if there is none.
func (b *budget) lengthen(interval int, c costs) int {
	if b.spent <= maxShare*b.trained || !(c.step > 0) {
		return interval
	}
	for {
		interval = roundUp(float64(interval + 1))
		next := interval - b.step%interval // steps until the next grid
		if c.total > 0 && b.step+next >= c.total {
			next = c.total - b.step
		}
		affordable := func(grids, steps int) bool {
			return b.spent+float64(grids)*c.batch <= maxShare*(b.trained+float64(steps)*c.step)
		}
		fits := affordable(1, next) && (interval >= c.total && c.total > 0 || c.batch <= maxShare*c.step*float64(interval))
		if c.total > 0 { // with a grid after the last step
			fits = fits && affordable((c.total+interval-1)/interval-b.step/interval, c.total-b.step)
		}
		switch {
		case fits:
			return interval
		case c.total > 0 && interval >= c.total:
			return 0
		}
	}
}
