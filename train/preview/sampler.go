package preview

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"go.uber.org/zap"

	"iddpm/diffusion"
	"iddpm/inference"
	"iddpm/train"
)

// Sampler makes grids of samples: samples/step-000500.png in the run folder, and an image of that
// step in TensorBoard. The samples are those of [inference.Model.Sample] from the step's checkpoint
// by its default weights, with seed 0 and the respacing of [train.SampleConfig], byte for byte on
// the same machine with the same number of threads. All processes of a run share the work.
//
// A grid that fails, such as on a full disk, is a warning in the log: training continues.
//
// The zero value is ready to use, for one run.
type Sampler struct {
	process *diffusion.GaussianDiffusion
	sampler diffusion.Sampler
	pace    pace // of a run whose interval is still to be chosen
}

// defaultImages is the number of images in a grid.
const defaultImages = 64

// batchSize is the number of images that a process samples at a time, the default of package
// inference.
const batchSize = 16

// Due reports whether the current step has a grid, or work that chooses the interval.
func (s *Sampler) Due(t *train.Trainer) bool {
	c, step := t.Config(), t.Step()
	switch every := c.Samples.Interval; {
	case every == 0 || c.Model.SuperRes() || step == 0:
		return false
	case every == train.AutoInterval:
		return s.pace.due(step)
	default:
		return step%every == 0 || t.Done()
	}
}

// Observe makes a grid, or chooses the interval.
func (s *Sampler) Observe(ctx context.Context, t *train.Trainer) error {
	work := s.grid
	if t.Config().Samples.Interval == train.AutoInterval {
		work = s.schedule
	}
	err := s.open(t)
	if err == nil {
		err = work(ctx, t)
	}
	run := t.Environment()
	if err == nil || ctx.Err() != nil || errors.Is(err, context.Canceled) || run.Group.Lost() {
		return err
	}
	run.Log.Warn("cannot make a grid of samples: training continues without it", zap.Int("step", t.Step()), zap.Error(err))
	if off := t.Config().Samples; off.Interval == train.AutoInterval {
		off.Interval = 0 // what it takes is unknown
		return t.SetSamples(off)
	}
	return nil
}

// open makes the diffusion process.
func (s *Sampler) open(t *train.Trainer) (err error) {
	if s.process != nil {
		return nil
	}
	c := t.Config()
	process, sampler := c.Samples.Process(c.Diffusion)
	s.sampler = sampler
	s.process, err = diffusion.New(process, t.Environment().Device)
	return err
}

// grid samples the images of a step, and writes them.
func (s *Sampler) grid(ctx context.Context, t *train.Trainer) error {
	started, count := time.Now(), cmp.Or(t.Config().Samples.Images, defaultImages)
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
			zap.Int("timesteps", s.process.NumTimesteps()), zap.Float64("seconds", time.Since(started).Seconds())}
		if weights.Reason != "" {
			about = append(about, zap.String("reason", weights.Reason))
		}
		run.Log.Info("sampled", about...)
		return nil
	})
}

// sample samples with the network's default weights.
func (s *Sampler) sample(ctx context.Context, t *train.Trainer, o inference.SampleOptions) (samples inference.Samples, weights train.Weights, err error) {
	c, run := t.Config(), t.Environment()
	o.Sampler, o.BatchSize = s.sampler, batchSize
	o.Progress = func(inference.Progress) error { t.AdaptThreads(); return nil }
	modeErr := t.WithInferenceModes(func(dtype int8) {
		t.WithDefaultWeights(func(w train.Weights) {
			m := inference.New(t.Network(), inference.Options{
				Config: c.Model, Diffusion: s.process, Dtype: dtype, Device: run.Device, Classes: t.TrainedClasses(),
				Group: run.Group, NoCUDAGraphs: c.Train.NoCUDAGraphs,
			})
			defer m.Free() // its captured graphs: training needs their memory
			weights = w
			samples, err = m.Sample(ctx, o)
		})
	})
	return samples, weights, errors.Join(modeErr, err)
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
