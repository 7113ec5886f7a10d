package main

import (
	"context"
	"fmt"
	"math"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/internal/runs"
)

// guidanceOptions are the flags of classifier-free guidance and autoguidance.
type guidanceOptions struct {
	scale    float64   // W; 1: none
	interval []float64 // lowest and highest sigma; nil: all
	path     string    // the guide; "": the network itself at its null class
	ema      string
}

func noGuidance() guidanceOptions { return guidanceOptions{scale: 1} }

func (o *guidanceOptions) options() []cli.Option {
	return []cli.Option{
		{Name: "guidance", Category: cli.CategorySampling, Value: &o.scale,
			Usage: "guidance scale `W`: predict (1-W) guide + W network (1: no guidance). The guide is the network without the class (classifier-free guidance, needs training with --class-dropout), or that of --guide"},
		{Name: "guidance-interval", Category: cli.CategorySampling, Value: &o.interval, Standard: "all noise levels",
			Usage: "guide only at noise levels sigma from `LO,HI`, where sigma^2 = (1 - alphabar) / alphabar; the other steps evaluate one network"},
		{Name: "guide", Path: true, Category: cli.CategorySampling, Value: &o.path, Usage: "autoguidance by the network in `CKPT`: a smaller or less trained one of the same diffusion"},
		{Name: "guide-ema", Category: cli.CategorySampling, Value: &o.ema, Standard: cli.EMADefault, Usage: "load the guide's EMA weights of decay `RATE`, or none"},
	}
}

func (o *guidanceOptions) validate() error {
	switch {
	case math.IsNaN(o.scale) || math.IsInf(o.scale, 0):
		return cli.Errorf("--guidance must be a number, not %g", o.scale)
	case o.scale == 1 && (o.interval != nil || o.path != ""):
		return cli.Errorf("--guide and --guidance-interval need --guidance, such as 1.5")
	case o.ema != "" && o.path == "":
		return cli.Errorf("--guide-ema is for --guide")
	case o.interval != nil && (len(o.interval) != 2 || !(o.interval[0] >= 0 && o.interval[1] > o.interval[0])):
		return cli.Errorf("--guidance-interval needs two noise levels, not negative and in ascending order, as in 0.2,3")
	}
	return nil
}

// check returns an error if the network cannot be guided.
func (o *guidanceOptions) check(c *checkpoint.Checkpoint) error {
	if o.scale != 1 && o.path == "" && !c.Config.Model.HasNullClass() {
		return cli.Errorf("--guidance %g: %s has no null class: train with --class-dropout 0.1, or name another network by --guide", o.scale, c.Path)
	}
	return nil
}

// load reads the guide's checkpoint, if there is one. It uses the timesteps of the network that it
// guides, and bare weights also what their parameters do not tell.
func (o *guidanceOptions) load(ctx context.Context, r *runs.Remotes, path string, guided *checkpoint.Checkpoint) (*checkpoint.Checkpoint, error) {
	if path == "" {
		return nil, nil
	}
	guide, err := r.Checkpoint(ctx, path)
	if err != nil {
		return nil, err
	}
	if guide.Bare {
		if _, err := guide.CompleteLike(guided.Config); err != nil {
			return nil, fmt.Errorf("--guide: %w", err)
		}
	}
	guide.Config.Diffusion.TimestepRespacing = guided.Config.Diffusion.TimestepRespacing
	return guide, guide.Check(o.ema)
}
