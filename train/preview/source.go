package preview

import (
	"context"
	"errors"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/inference"
	"iddpm/train"
)

// batchSize is the number of images that a process samples at a time, the default of package
// inference.
const batchSize = 16

// source samples from the network of a run by the process of its [runconfig.SampleConfig].
type source struct {
	process *diffusion.GaussianDiffusion
	sampler diffusion.Sampler
}

// open makes the diffusion process.
func (s *source) open(t *train.Trainer) (err error) {
	if s.process != nil {
		return nil
	}
	c := t.Config()
	process, sampler := c.Samples.Process(c.Diffusion)
	s.sampler = sampler
	s.process, err = diffusion.New(process, t.Environment().Device)
	return err
}

// sample samples with the network's default weights.
func (s *source) sample(ctx context.Context, t *train.Trainer, o inference.SampleOptions) (samples inference.Samples, weights checkpoint.Weights, err error) {
	if err := s.open(t); err != nil {
		return samples, weights, err
	}
	c, run := t.Config(), t.Environment()
	o.Sampler, o.BatchSize = s.sampler, batchSize
	o.Progress = func(inference.Progress) error { t.AdaptThreads(); return nil }
	modeErr := t.WithInferenceModes(func(dtype gotorch.DType) {
		t.WithDefaultWeights(func(w checkpoint.Weights) {
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

// tolerate logs an error of sampling or evaluating as a warning, and returns nil: training
// continues. It returns an interrupt, and the loss of a process.
func tolerate(ctx context.Context, t *train.Trainer, what string, err error) error {
	run := t.Environment()
	if err == nil || ctx.Err() != nil || errors.Is(err, context.Canceled) || run.Group.Lost() {
		return err
	}
	run.Log.Warn("cannot "+what+": training continues without it", zap.Int("step", t.Step()), zap.Error(err))
	return nil
}
