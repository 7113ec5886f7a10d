package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/internal/runs"
)

// cascadeOptions are the flags of a second network, which upsamples the samples of
// the first.
type cascadeOptions struct {
	path      string
	preset    string
	respacing string
	sampler   samplerOptions
	choice    samplerChoice // from sampler, once the checkpoint is known
	ema       string
	batchSize int
	guidance  float64 // W; 1: none
}

func newCascadeOptions() cascadeOptions {
	return cascadeOptions{guidance: 1, sampler: samplerOptions{prefix: "upsample-"}}
}

func (o *cascadeOptions) options() []cli.Option {
	return append([]cli.Option{
		{Name: "upsample", Path: true, Category: cli.CategorySampling, Value: &o.path, Usage: "upsample the samples with the super-resolution network in `CKPT`"},
		{Name: "upsample-preset", Category: cli.CategorySampling, Value: &o.preset, Usage: "preset `NAME` of the upsampler, if CKPT holds bare weights"},
		{Name: "upsample-timestep-respacing", Category: cli.CategorySampling, Value: &o.respacing, Standard: "by sampler", Usage: "timesteps of the upsampler, `SPEC`, as for --timestep-respacing"},
		{Name: "upsample-ema", Category: cli.CategorySampling, Value: &o.ema, Standard: cli.EMADefault, Usage: "load the upsampler's EMA weights of decay `RATE`, or none"},
		{Name: "upsample-batch-size", Category: cli.CategorySampling, Value: &o.batchSize, Standard: "--batch-size", Usage: "upsample `N` images per batch"},
		{Name: "upsample-guidance", Category: cli.CategorySampling, Value: &o.guidance, Usage: "classifier-free guidance scale `W` of the upsampler, as for --guidance"},
	}, o.sampler.options()...)
}

func (o *cascadeOptions) validate() error {
	switch {
	case o.path == "" && *o != newCascadeOptions():
		return cli.Errorf("--upsample-preset, -timestep-respacing, -sampler, -sampling-steps, -spacing, -use-ddim, -eta, -ema, -guidance and -batch-size are for --upsample")
	case math.IsNaN(o.guidance) || math.IsInf(o.guidance, 0):
		return cli.Errorf("--upsample-guidance must be a number, not %g", o.guidance)
	case o.batchSize < 0:
		return cli.Errorf("--upsample-batch-size must not be negative, but is %d", o.batchSize)
	}
	return o.sampler.validate()
}

// load reads the second network's checkpoint, if there is one, and checks that it upsamples
// the samples of the first: before the first samples for hours. few chooses a sampler for few steps
// unless flags choose another.
func (o *cascadeOptions) load(ctx context.Context, r *runs.Remotes, path string, first *checkpoint.Checkpoint, few bool) (*checkpoint.Checkpoint, error) {
	if path == "" {
		return nil, nil
	}
	second, err := r.Checkpoint(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := o.complete(second); err != nil {
		return nil, err
	}
	d := &second.Config.Diffusion
	request := samplerRequest{numTimesteps: d.Steps, respacing: o.respacing, respaced: o.respacing != "", reference: !few}
	if o.choice, err = o.sampler.choose(request); err != nil {
		return nil, err
	}
	d.TimestepRespacing = o.choice.respacing
	if err := d.Validate(); err != nil {
		return nil, cli.Errorf("--upsample-timestep-respacing: %w", err)
	}
	return second, o.check(first, second)
}

// check returns an error if the second network cannot upsample the samples of the first.
func (o *cascadeOptions) check(first, second *checkpoint.Checkpoint) error {
	m, base := second.Config.Model, first.Config.Model
	switch {
	case !m.SuperRes():
		return fmt.Errorf("--upsample: %s is no super-resolution network: train one by iddpm train --super-res --small-size %d", second.Path, base.ImageSize)
	case m.SmallSize != base.ImageSize:
		return fmt.Errorf("%s upsamples images of %d pixels, but %s generates images of %d", second.Path, m.SmallSize, first.Path, base.ImageSize)
	case m.ClassCond && !base.ClassCond:
		return fmt.Errorf("%s is class-conditional, but %s is not", second.Path, first.Path)
	case m.ClassCond && m.NumClasses < base.NumClasses:
		return fmt.Errorf("%s has %d classes, but %s has %d", second.Path, m.NumClasses, first.Path, base.NumClasses)
	case m.ClassCond && !sameClasses(first.ClassNames, second.ClassNames):
		return fmt.Errorf("%s and %s number their classes differently: upsample by a second command, sample --base-samples, with --class", first.Path, second.Path)
	case o.guidance != 1 && !m.HasNullClass():
		return fmt.Errorf("%s has no null class, which --upsample-guidance %g needs: train with --class-cond --class-dropout 0.1", second.Path, o.guidance)
	}
	return second.Check(o.ema)
}

// complete sets the configuration of bare weights: that of a published network, or a preset's. The
// diffusion of other weights is unknown.
func (o *cascadeOptions) complete(second *checkpoint.Checkpoint) error {
	switch {
	case !second.Bare && o.preset != "":
		return cli.Errorf("--upsample-preset %s: %s holds its configuration; presets are for bare weights", o.preset, second.Path)
	case !second.Bare:
		return nil
	}
	found, err := second.Identify()
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", second.Path, err)
	}
	switch {
	case o.preset != "":
		if second.Config, err = cli.BaseConfig(o.preset); err == nil && second.Config.Model.ClassCond {
			second.Config.Model.SetLabelRows(found.Network.UNet.NumClasses)
		}
	case found.Published == nil:
		err = cli.Errorf("%s holds bare weights of no published network: name their network by --upsample-preset, or upsample by a second command, sample --base-samples, with the model flags", second.Path)
	default:
		err = second.CompletePublished()
	}
	return err
}

// sameClasses reports whether labels may mean the same classes in two networks.
// Bare weights have no class names.
func sameClasses(first, second []string) bool {
	n := min(len(first), len(second))
	return slices.Equal(first[:n], second[:n])
}
