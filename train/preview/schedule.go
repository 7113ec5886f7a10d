package preview

import (
	"context"
	"math"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/distributed"
	"iddpm/inference"
	"iddpm/train"
)

const (
	maxShare = 0.03 // of the time of training that grids may cost

	warmupSteps = 2  // before steps are timed
	timedSteps  = 10 // whose time decides
	timedLoop   = 5  // timesteps of sampling whose time decides
	timedLoops  = 2  // after one to warm up; the fastest counts

	smallGrid = 16 // images where fewer than manyGrids large grids fit into the run
	manyGrids = 8
)

// pace times the first steps of a process.
type pace struct {
	first   int // the first step; 0: not yet
	started time.Time
}

// due reports whether the clock starts or stops after a step.
func (p *pace) due(step int) bool {
	if p.first == 0 || step < p.first { // a rollback starts again
		*p = pace{first: step}
	}
	return step == p.first+warmupSteps || step >= p.first+warmupSteps+timedSteps
}

// schedule times steps and sampling, and then chooses the interval and stores it with the run.
func (s *Sampler) schedule(ctx context.Context, t *train.Trainer) error {
	if err := s.open(t); err != nil {
		return err
	}
	run := t.Environment()
	if run.Device.Type == gotorch.CUDA {
		gotorch.CUDASynchronize(run.Device)
	}
	if t.Step() < s.pace.first+warmupSteps+timedSteps {
		s.pace.started = s.now()
		return nil
	}
	c := t.Config()
	cost := costs{step: s.now().Sub(s.pace.started).Seconds() / timedSteps, total: c.Train.TotalSteps()}
	sizes := []int{defaultImages, smallGrid}
	if c.Samples.Images > 0 {
		sizes = []int{c.Samples.Images}
	}
	var err error
	if cost.batch, err = s.timeBatch(ctx, t, min(batchSize, sizes[0])); err != nil {
		return err
	}
	cost.perBatch = batchSize * run.Group.Size()
	chosen, err := distributed.Broadcast(run.Group, cost.choose(sizes)) // rank 0's times decide
	if err != nil {
		return err
	}
	about := []zap.Field{zap.Int("images", chosen.Images), zap.Int("timesteps", s.process.NumTimesteps()),
		zap.Float64("seconds_per_grid", cost.grid(chosen.Images)), zap.Float64("seconds_per_step", cost.step), zap.Float64("share", chosen.Share)}
	if chosen.Interval == 0 {
		run.Log.Info("no grids of samples: one would cost more than 3 % of the time of this run", about...)
	} else {
		run.Log.Info("interval of sample grids chosen, so that they cost at most 3 % of the time", append(about, zap.Int("interval", chosen.Interval))...)
	}
	c.Samples.Images, c.Samples.Interval, c.Samples.Chosen = chosen.Images, chosen.Interval, chosen.Interval > 0
	s.budget.mark(t.Step(), s.now())
	return t.SetSamples(c.Samples)
}

// timeBatch returns how many seconds a process needs to sample a batch of images.
func (s *Sampler) timeBatch(ctx context.Context, t *train.Trainer, images int) (seconds float64, err error) {
	timesteps := s.process.NumTimesteps()
	skipped := max(0, timesteps-timedLoop)
	for i := range 1 + timedLoops {
		started := s.now()
		_, _, err := s.sample(ctx, t, inference.SampleOptions{Count: images * t.Environment().Group.Size(), SkipSteps: skipped})
		if err != nil {
			return 0, err
		}
		if took := s.now().Sub(started).Seconds(); i < 2 || took < seconds {
			seconds = took
		}
	}
	return seconds / float64(timesteps-skipped) * float64(timesteps), nil
}

// costs are what decides the interval, in seconds.
type costs struct {
	step     float64 // of an optimizer step
	batch    float64 // of sampling perBatch images
	perBatch int     // images, over all processes
	total    int     // steps of the run; 0: without end
}

// grid returns the cost of a grid.
func (c costs) grid(images int) float64 {
	return c.batch * math.Ceil(float64(images)/float64(c.perBatch))
}

// plan is a choice.
type plan struct {
	Images, Interval int     // Interval 0: no grids
	Share            float64 // of the time of training
}

// choose returns the first number of images of which manyGrids grids fit into the run, or else the
// last, at the shortest interval that costs at most maxShare of the time.
func (c costs) choose(images []int) (p plan) {
	for _, n := range images {
		p = c.shortest(n)
		if p.Interval > 0 && (c.total == 0 || c.total >= manyGrids*p.Interval) {
			break
		}
	}
	return p
}

// shortest returns the shortest interval of one significant digit for grids of n images.
func (c costs) shortest(n int) plan {
	every := c.grid(n) / (maxShare * c.step) // steps in which a grid pays off
	for interval := roundUp(every); c.total == 0 || interval <= c.total; interval = roundUp(float64(interval + 1)) {
		grids, steps := 1, interval
		if c.total > 0 { // with a grid after the last step
			grids, steps = (c.total+interval-1)/interval, c.total
		}
		if share := float64(grids) * c.grid(n) / (float64(steps) * c.step); share <= maxShare {
			return plan{Images: n, Interval: interval, Share: share}
		}
	}
	return plan{Images: n, Share: c.grid(n) / (float64(c.total) * c.step)}
}

// roundUp returns the smallest integer of one significant digit that is at least x and 1.
func roundUp(x float64) int {
	unit := math.Pow(10, math.Floor(math.Log10(max(x, 1))))
	return int(math.Ceil(max(x, 1)/unit) * unit)
}
