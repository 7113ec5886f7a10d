package main

import (
	"context"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/internal/cli"
	"iddpm/internal/runs"
	"iddpm/model"
)

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
	if err := c.addGuide(ctx, remotes, o, self); err != nil {
		return err
	}
	return c.addClassifier(ctx, remotes, o, self)
}

// addGuide adds the evaluations of --guide, which guides the network of self.
func (c *samplingCost) addGuide(ctx context.Context, remotes *runs.Remotes, o *infoOptions, self *checkpoint.Checkpoint) error {
	guide, err := o.guidance.load(ctx, remotes, o.guidance.path, self)
	if err != nil || guide == nil {
		return err
	}
	network, err := planOf(guide.Config.Model)
	if err != nil {
		return err
	}
	c.Guide = c.Guided
	c.FLOPs += int64(c.Guide) * 2 * network.MACs(guide.Config.Model.ImageSize)
	return nil
}

// addClassifier adds the gradients of --classifier, which guides the network of self.
func (c *samplingCost) addClassifier(ctx context.Context, remotes *runs.Remotes, o *infoOptions, self *checkpoint.Checkpoint) error {
	classifier, err := o.classifier.load(ctx, remotes, o.classifier.path, self)
	if err != nil || classifier == nil || o.classifier.scale == 0 {
		return err
	}
	network, err := planOfClassifier(o.classifier.config)
	if err != nil {
		return err
	}
	c.Gradients = c.Timesteps
	c.FLOPs += int64(c.Gradients) * 2 * network.GradientMACs(o.classifier.config.ImageSize)
	return nil
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
