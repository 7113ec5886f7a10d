package main

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/figure"
	"iddpm/inference"
	"iddpm/internal/cli"
)

// metricRMS is the distance to the samples of all timesteps from the same noise.
const metricRMS = "rms"

var samplingStepsFigure = figureSpec{
	name:      "sampling-steps",
	usage:     "sample quality against the number of sampling steps (figure 8)",
	arguments: "CKPT_OR_RUN_DIR...",
	weights:   true,
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
	return append(slices.Concat(sessionFlags(&o.sessionOptions), o.fewStepsOptions.options(), o.metricOptions.options()),
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
	by := s.newSampleMetric(metric, weights, o.metricOptions)
	defer by.free()
	var points []figure.SamplerPoint
	for _, from := range sources {
		of, err := s.measureSamplers(ctx, from, o, metric, by)
		if err != nil {
			return nil, err
		}
		points = append(points, of...)
	}
	return figure.SamplingSteps(points, about), nil
}

// measureSamplers measures the samplers of one model by a metric, by nil for the distance to all timesteps.
func (s *session) measureSamplers(ctx context.Context, from source, o *figureSamplingOptions, metric string, by *sampleMetric) (points []figure.SamplerPoint, err error) {
	c, err := figureCheckpoint(from.path, needsCheckpoint)
	if err != nil {
		return nil, err
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
	quality, err := m.quality(ctx, c, o, by)
	if err != nil {
		return nil, err
	}
	for _, setting := range settings {
		made, err := m.sample(ctx, setting, false)
		if err != nil {
			return nil, err
		}
		value, err := quality(ctx, made.Images)
		if err != nil {
			return nil, err
		}
		s.log.Info("compared samples", zap.Stringer("sampler", setting), zap.Int("timesteps", made.timesteps), zap.Float64(metric, value))
		points = append(points, figure.SamplerPoint{
			Model: from.name, Sampler: setting.sampler.String(), Spacing: setting.spacing.String(),
			Timesteps: made.timesteps, Evaluations: setting.sampler.Evaluations(made.timesteps), Value: value,
		})
	}
	return points, nil
}

// figureSettings returns what to compare. Samplers that add noise have no distance to all timesteps.
func (o *figureSamplingOptions) figureSettings(numTimesteps int, metric string) ([]fewStepsSetting, error) {
	all, err := o.settings(numTimesteps)
	if metric == metricRMS {
		all = slices.DeleteFunc(all, func(by fewStepsSetting) bool { return !by.sampler.Deterministic(0) })
	}
	if err == nil && len(all) == 0 {
		err = cli.Errorf("--samplers %s: all of them add noise, and have no distance to all timesteps: --metric kid compares them", o.samplers)
	}
	return all, err
}

// quality returns the function that compares samples.
func (m *fewStepsModel) quality(ctx context.Context, c *checkpoint.Checkpoint, o *figureSamplingOptions, by *sampleMetric) (func(context.Context, inference.Images) (float64, error), error) {
	if by != nil {
		return by.to(ctx, c, o.dataDir, o.split)
	}
	m.log.Info("sampling by all timesteps, to compare with: no weights of the Inception network are used", zap.Int("timesteps", m.config.Steps))
	full, err := m.sample(ctx, m.fullChain(), false)
	return func(_ context.Context, samples inference.Images) (float64, error) {
		return rms(samples.Pixels, full.Pixels), nil
	}, err
}
