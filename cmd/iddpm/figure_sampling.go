package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"iddpm/diffusion"
	"iddpm/figure"
	"iddpm/internal/cli"
	"iddpm/train"
)

// metricRMS is the distance to the samples of all timesteps from the same noise.
const metricRMS = "rms"

var samplingStepsFigure = figureSpec{
	name:      "sampling-steps",
	usage:     "sample quality against the number of sampling steps (figure 8)",
	arguments: "CKPT_OR_RUN_DIR...",
	description: `Plots the quality of samples against the number of evaluations of the network that a sample costs, for
several samplers: figure 8 of the paper. The measure is FID or KID to the training images where the weights of the Inception
network are at hand (--inception FILE, or after iddpm evaluate has downloaded them). FID of few
samples is biased, so fewer than 2,048 are compared by KID; the paper uses 50,000. Without the weights it is the
root mean square distance to DDIM in all timesteps from the same noise, of values in [-1, 1]: the
error of a sampler without noise. Samplers that add noise have no such error, and are left out.

Each sampler has the spacing of timesteps that suits it, unless --spacings names some.
An argument may be NAME=PATH.

Examples:
  iddpm figure sampling-steps runs/001-emoji
  iddpm figure sampling-steps hybrid=runs/001-custom vlb=runs/002-custom --samplers ddpm,ddim --sampling-steps 25,50,100,200,400 --num-samples 10000`,
	begin: func() ([]cli.Option, draw) {
		o := newFigureSamplingOptions()
		return o.options(), func(ctx context.Context, s *session, args []string) (drawing, error) {
			return s.drawSamplingSteps(ctx, args, o)
		}
	},
}

// figureSamplingOptions are the flags of figure sampling-steps.
type figureSamplingOptions struct {
	sessionOptions
	fewStepsOptions
	metricOptions
	dataDir string
	split   string
}

func newFigureSamplingOptions() *figureSamplingOptions {
	o := &figureSamplingOptions{sessionOptions: defaultSession(), fewStepsOptions: newFewStepsOptions(), metricOptions: newMetricOptions(metricRMS)}
	o.spacings = ""
	return o
}

func (o *figureSamplingOptions) options() []cli.Option {
	session := slices.DeleteFunc(o.sessionOptions.options(), func(s cli.Option) bool { return s.Name == "json" }) // every figure has it
	return append(slices.Concat(session, o.fewStepsOptions.options(), o.metricOptions.options()),
		cli.Option{Name: "data-dir", Category: cli.CategoryData, Local: true, Value: &o.dataDir, Standard: "what the run was trained on", Usage: "compare with the images in `DIR`, a folder or a zip"},
		cli.SplitOption(&o.split),
	)
}

func (s *session) drawSamplingSteps(ctx context.Context, args []string, o *figureSamplingOptions) (drawing, error) {
	if len(args) == 0 {
		return nil, cli.Errorf("name checkpoints or run folders, such as runs/001-emoji")
	}
	sources, err := sourcesOf(args)
	if err != nil {
		return nil, err
	}
	metric, weights, err := o.choose(o.number)
	if err != nil {
		return nil, err
	}
	about := figure.SampleMetric{Label: "RMS distance to DDIM in all timesteps", Column: "rms", About: fmt.Sprintf("Root mean square distance of %d samples to those of DDIM in all timesteps from the same noise, of values in [-1, 1].", o.number)}
	if metric != metricRMS {
		about = o.about(metric, o.number)
	}
	if err := s.use(o.device); err != nil {
		return nil, err
	}
	defer s.screen.Done()
	var curves []figure.SamplerCurve
	for _, from := range sources {
		of, err := s.samplerCurves(ctx, from, o, metric, weights)
		if err != nil {
			return nil, err
		}
		curves = append(curves, of...)
	}
	return figure.SamplingSteps(curves, about), nil
}

// samplerCurves measures the samplers of one model.
func (s *session) samplerCurves(ctx context.Context, from source, o *figureSamplingOptions, metric, weights string) ([]figure.SamplerCurve, error) {
	c, err := train.LoadCheckpoint(from.path)
	if err != nil {
		return nil, err
	}
	if c.Bare {
		return nil, fmt.Errorf("%s holds bare weights, without a configuration: figures need a checkpoint of iddpm", from.path)
	}
	settings, err := o.figureSettings(c.Config.Diffusion.Steps, metric)
	if err != nil {
		return nil, err
	}
	m, err := s.openFewSteps(c, o.fewStepsOptions)
	if err != nil {
		return nil, err
	}
	defer m.Free()
	quality, free, err := m.quality(ctx, c, o, metric, weights)
	if err != nil {
		return nil, err
	}
	defer free()
	var curves []figure.SamplerCurve
	for _, by := range settings {
		made, err := m.sample(ctx, by, false)
		if err != nil {
			return nil, err
		}
		value, err := quality(ctx, made)
		if err != nil {
			return nil, err
		}
		s.log.Info("compared samples", zap.Stringer("sampler", by), zap.Int("timesteps", made.timesteps), zap.Float64(metric, value))
		curve := figure.SamplerCurve{Model: from.name, Sampler: by.sampler.String(), Spacing: by.spacing.String()}
		if n := len(curves); n == 0 || curves[n-1].Sampler != curve.Sampler || curves[n-1].Spacing != curve.Spacing {
			curves = append(curves, curve)
		}
		last := &curves[len(curves)-1]
		last.Points = append(last.Points, figure.SamplerPoint{Timesteps: made.timesteps, Evaluations: by.sampler.Evaluations(made.timesteps), Value: value})
	}
	return curves, nil
}

// figureSettings returns what to compare: each sampler by its own spacing unless spacings are named.
func (o *figureSamplingOptions) figureSettings(numTimesteps int, metric string) ([]fewStepsSetting, error) {
	few, own := o.fewStepsOptions, o.spacings == ""
	if own {
		few.spacings = strings.Join([]string{diffusion.EvenT.String(), diffusion.EvenLogSNR.String()}, ",")
	}
	all, err := few.settings(numTimesteps)
	kept := slices.DeleteFunc(all, func(by fewStepsSetting) bool {
		return own && by.spacing != by.sampler.Spacing() || metric == metricRMS && !by.sampler.Deterministic(0)
	})
	if err == nil && len(kept) == 0 {
		err = cli.Errorf("--samplers %s: all of them add noise, and have no distance to all timesteps: --metric kid compares them", o.samplers)
	}
	return kept, err
}

// quality returns the function that compares samples, and one that frees what it needs.
func (m *fewStepsModel) quality(ctx context.Context, c *train.Checkpoint, o *figureSamplingOptions, metric, weights string) (of func(context.Context, fewStepsSamples) (float64, error), free func(), err error) {
	if metric != metricRMS {
		by, err := m.openSampleMetric(ctx, metric, weights, c, o.dataDir, o.split, o.numRef)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, made fewStepsSamples) (float64, error) { return by.of(ctx, made.Images) }, by.free, nil
	}
	m.log.Info("sampling by all timesteps, to compare with: no weights of the Inception network are used", zap.Int("timesteps", m.config.Steps))
	full, err := m.sample(ctx, m.fullChain(), false)
	return func(_ context.Context, made fewStepsSamples) (float64, error) {
		return rms(made.Pixels, full.Pixels), nil
	}, func() {}, err
}
