package preview

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"go.uber.org/zap"

	"iddpm/inference"
	"iddpm/runconfig"
	"iddpm/train"
)

// Sampler makes grids of samples: samples/step-000500.png in the run folder, and an image of that
// step in TensorBoard. The samples are those of [inference.Model.Sample] from the step's checkpoint
// by its default weights, with seed 0 and the respacing of [runconfig.SampleConfig], byte for byte on
// the same machine with the same number of threads. All processes of a run share the work.
//
// A grid that fails, such as on a full disk, is a warning in the log: training continues.
//
// The zero value is ready to use, for one run.
type Sampler struct {
	source
	pace   pace             // of a run whose interval is still to be chosen
	budget budget           // of a run whose interval was chosen
	clock  func() time.Time // nil: time.Now
}

func (s *Sampler) now() time.Time {
	if s.clock == nil {
		return time.Now()
	}
	return s.clock()
}

// defaultImages is the number of images in a grid.
const defaultImages = 64

// Due reports whether the current step has a grid, or work that chooses the interval.
func (s *Sampler) Due(t *train.Trainer) bool {
	c, step := t.Config(), t.Step()
	switch every := c.Samples.Interval; {
	case every == 0 || c.Model.SuperRes() || step == 0:
		return false
	case every == runconfig.AutoInterval:
		return s.pace.due(step)
	default:
		if c.Samples.Chosen && s.budget.unmarked(step) {
			s.budget.mark(step, s.now())
		}
		return step%every == 0 || t.Done()
	}
}

// Observe makes a grid, or chooses the interval.
func (s *Sampler) Observe(ctx context.Context, t *train.Trainer) error {
	if t.Config().Samples.Interval != runconfig.AutoInterval {
		return tolerate(ctx, t, "make a grid of samples", s.gridOnBudget(ctx, t))
	}
	err := s.schedule(ctx, t)
	if stop := tolerate(ctx, t, "choose the interval of sample grids", err); err == nil || stop != nil {
		return stop
	}
	off := t.Config().Samples
	off.Interval = 0
	return t.SetSamples(off)
}

// grid samples the images of a step, and writes them.
func (s *Sampler) grid(ctx context.Context, t *train.Trainer) error {
	started, count := s.now(), cmp.Or(t.Config().Samples.Images, defaultImages)
	samples, weights, err := s.sample(ctx, t, inference.SampleOptions{Count: count})
	if err != nil {
		return err
	}
	run := t.Environment()
	return run.Group.OnLeader(func() error {
		path, err := write(t, samples)
		if err != nil {
			return err
		}
		about := []zap.Field{zap.String("grid", path), zap.String("weights", weights.Name), zap.Int("images", count),
			zap.Int("timesteps", s.process.NumTimesteps()), zap.Float64("seconds", s.now().Sub(started).Seconds())}
		if weights.Reason != "" {
			about = append(about, zap.String("reason", weights.Reason))
		}
		run.Log.Info("sampled", about...)
		return nil
	})
}

// write writes a grid to the run folder and to TensorBoard, and returns the file's path.
func write(t *train.Trainer, samples inference.Samples) (path string, err error) {
	png, err := samples.GridPNG(int(math.Ceil(math.Sqrt(float64(samples.Len())))))
	if err != nil {
		return "", err
	}
	path = filepath.Join(t.Environment().Dir, "samples", fmt.Sprintf("step-%06d.png", t.Step()))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return path, err
	}
	if err := renameio.WriteFile(path, png, 0o666); err != nil {
		return path, err
	}
	return path, t.WriteImage("samples", png)
}
