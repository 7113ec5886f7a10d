package main

import (
	"context"

	"iddpm/figure"
	"iddpm/internal/cli"
)

var skipStepsFigure = figureSpec{
	name:      "skip-steps",
	usage:     "skipping the first steps of the reverse process (figure 4)",
	arguments: "CKPT_OR_RUN_DIR...",
	weights:   true,
	description: `Plots the cost of skipping the first part of the reverse process, starting from pure noise at a
later timestep: figure 4 of the paper, which shows FID. Here the measure is the variational bound
of the shortened process, in bits/dim on a few images: it is exact, since the shortened process is
a model too, and costs one evaluation of the terms. Where the end of the forward process has more
noise than needed, as with the linear schedule, the curve starts flat.

With --num-samples the shortened processes also generate samples, with a fraction of 0, 0.1, ...,
0.9 skipped, and a second panel compares them with training images: by FID as in the paper, or KID for fewer than
2,048 samples, where the weights of the Inception network are at hand (--inception FILE, or after
iddpm evaluate has downloaded them). Without, by the energy per octave of spatial frequency, as the
root mean square difference in dB from the images of the bound. That detects remaining noise and missing detail; it does not
measure whether an image makes sense. An argument may be NAME=PATH.

Examples:
  iddpm figure skip-steps linear=runs/001-custom cosine=runs/002-custom
  iddpm figure skip-steps runs/001-emoji --timestep-respacing 100 --num-samples 64`,
	begin: func() ([]cli.Option, draw) {
		o := newFigureModelOptions()
		samples := cli.Option{Name: "num-samples", Category: cli.CategoryFigure, Value: &o.samples, Usage: "generate `N` samples with each of the ten shortened processes, and compare their statistics"}
		return append(append(o.options(), samples), o.metric.options()...), func(ctx context.Context, s *session, args []string) (drawing, error) {
			return s.drawSkips(ctx, args, o)
		}
	},
}

func (s *session) drawSkips(ctx context.Context, args []string, o *figureModelOptions) (drawing, error) {
	if o.samples < 0 {
		return nil, cli.Errorf("--num-samples must not be negative, but is %d", o.samples)
	}
	sources, err := boundSources(args, o)
	if err != nil {
		return nil, err
	}
	metric, weights, err := o.metric.choose(o.samples)
	if err != nil {
		return nil, err
	}
	var by *figure.SampleMetric // nil: octaves
	if o.by = s.newSampleMetric(metric, weights, o.metric); o.by != nil && o.samples > 0 {
		defer o.by.free()
		about := o.metric.about(metric, o.samples)
		about.About = "Second panel: " + about.About
		by = &about
	}
	var models []figure.SkipModel
	for _, from := range sources {
		e, err := s.evaluateBound(ctx, from, o)
		if err != nil {
			return nil, err
		}
		models = append(models, figure.SkipModel{Name: from.name, Schedule: e.schedule, VB: e.vb, Square: e.square, Differences: e.differences})
	}
	return figure.SkipSteps(models, by)
}
