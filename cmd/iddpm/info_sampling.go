package main

import (
	"context"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/internal/cli"
	"iddpm/internal/runs"
	"iddpm/model"
	"iddpm/runconfig"
	"iddpm/train/engine"
)

// memoryOfBatch returns the memory of a network's evaluation of n samples at once.
type memoryOfBatch func(n int) engine.MemoryEstimate

// measureSampling counts what sampling an image evaluates. flops are those of one evaluation.
func (r *infoResult) measureSampling(ctx context.Context, remotes *runs.Remotes, o *infoOptions, flops int64) (err error) {
	c := &samplingCost{}
	r.Sampling = c
	self := &checkpoint.Checkpoint{Path: r.Checkpoint + r.Preset, Config: r.Config}
	if err := o.guidance.check(self); err != nil {
		return err
	}
	if c.Timesteps, c.Guided, err = countTimesteps(r.Config.Diffusion, &o.guidance); err != nil {
		return err
	}
	c.Evaluations = c.Timesteps
	if o.guidance.path == "" {
		c.Evaluations += c.Guided
	}
	c.FLOPs = int64(c.Evaluations) * flops
	own, err := ownMemory(r.Config, c.Evaluations > c.Timesteps)
	if err != nil {
		return err
	}
	guide, err := c.addGuide(ctx, remotes, o, self)
	if err != nil {
		return err
	}
	classifier, err := c.addClassifier(ctx, remotes, o, self)
	c.Memory = newSamplingMemory(r.Memory.Precision, own, guide, classifier)
	return err
}

// ownMemory returns the memory of the network of config; guided: each sample is evaluated with and
// without its class.
func ownMemory(config runconfig.Config, guided bool) (memoryOfBatch, error) {
	network, err := planOf(config.Model)
	if err != nil {
		return nil, err
	}
	return func(n int) engine.MemoryEstimate {
		if guided {
			n *= 2
		}
		return engine.EstimateSampling(network, config.Model.ImageSize, config.Train.Precision, n)
	}, nil
}

// addGuide adds the evaluations of --guide, which guides the network of self, and returns their memory; nil: none.
func (c *samplingCost) addGuide(ctx context.Context, remotes *runs.Remotes, o *infoOptions, self *checkpoint.Checkpoint) (memoryOfBatch, error) {
	guide, err := o.guidance.load(ctx, remotes, o.guidance.path, self)
	if err != nil || guide == nil {
		return nil, err
	}
	network, err := planOf(guide.Config.Model)
	if err != nil {
		return nil, err
	}
	size := guide.Config.Model.ImageSize
	c.Guide = c.Guided
	c.FLOPs += int64(c.Guide) * 2 * network.MACs(size)
	return func(n int) engine.MemoryEstimate {
		return engine.EstimateSampling(network, size, self.Config.Train.Precision, n)
	}, nil
}

// addClassifier adds the gradients of --classifier, which guides the network of self, and returns their
// memory; nil: none.
func (c *samplingCost) addClassifier(ctx context.Context, remotes *runs.Remotes, o *infoOptions, self *checkpoint.Checkpoint) (memoryOfBatch, error) {
	classifier, err := o.classifier.load(ctx, remotes, o.classifier.path, self)
	if err != nil || classifier == nil || o.classifier.scale == 0 {
		return nil, err
	}
	network, err := planOfClassifier(o.classifier.config)
	if err != nil {
		return nil, err
	}
	size := o.classifier.config.ImageSize
	c.Gradients = c.Timesteps
	c.FLOPs += int64(c.Gradients) * 2 * network.GradientMACs(size)
	return func(n int) engine.MemoryEstimate {
		return engine.EstimateClassifierGradient(network, size, self.Config.Train.Precision, n)
	}, nil
}

// newSamplingMemory combines the networks, which are evaluated one after the other.
func newSamplingMemory(precision string, networks ...memoryOfBatch) samplingMemory {
	estimate := func(n int) (all engine.MemoryEstimate) {
		for _, network := range networks {
			if network != nil {
				all = all.Beside(network(n))
			}
		}
		return all
	}
	batch := newSampleOptions().batchSize
	m := samplingMemory{Precision: precision, Batch: batch, Weights: estimate(batch).State, Bytes: estimate(batch).Bytes()}
	m.PerImage = estimate(batch+1).Step - estimate(batch).Step
	return m
}

// countTimesteps returns the number of timesteps of sampling, and how many of them are guided.
func countTimesteps(c diffusion.Config, o *guidanceOptions) (steps, guided int, err error) {
	_, schedule, err := c.Respaced()
	if err != nil {
		return 0, 0, err
	}
	g := diffusion.Guidance{Scale: o.scale}
	if o.interval != nil {
		g.MinSigma, g.MaxSigma = o.interval[0], o.interval[1]
	}
	return schedule.NumTimesteps(), g.CountGuided(schedule), nil
}

// planOf builds a denoiser without tensors.
func planOf(c model.Config) (*model.UNet, error) {
	network, err := c.Plan()
	return network, cli.Usage(err)
}

// planOfClassifier builds a classifier without tensors.
func planOfClassifier(c model.ClassifierConfig) (*model.Classifier, error) {
	network, err := c.Plan()
	return network, cli.Usage(err)
}
