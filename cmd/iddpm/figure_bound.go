package main

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/figure"
	"iddpm/inference"
	"iddpm/internal/cli"
)

// figureModelOptions are the flags of figures that evaluate networks.
type figureModelOptions struct {
	sessionOptions
	dataDir   string
	split     string
	number    int
	batchSize int
	respacing string
	ema       string
	seed      uint64
	precision string
	threads   int

	// Of skip-steps:
	samples int // per length of the reverse process
	metric  metricOptions
	by      *sampleMetric // of the samples; nil: octaves
}

func newFigureModelOptions() *figureModelOptions {
	return &figureModelOptions{sessionOptions: defaultSession(), number: 16, batchSize: 16, precision: "auto", metric: newMetricOptions(metricOctaves)}
}

func (o *figureModelOptions) options() []cli.Option {
	return append(sessionFlags(&o.sessionOptions),
		cli.Option{Name: "data-dir", Category: cli.CategoryData, Local: true, Value: &o.dataDir, Standard: "what the run held out, or else was trained on", Usage: "evaluate on the images in `DIR`, a folder or a zip"},
		cli.SplitOption(&o.split),
		cli.Option{Name: "num-pictures", Category: cli.CategoryFigure, Value: &o.number, Usage: "average over `N` images, spread evenly over the set"},
		cli.Option{Name: "batch-size", Category: cli.CategoryFigure, Value: &o.batchSize, Usage: "`N` images per batch"},
		cli.Option{Name: "timestep-respacing", Category: cli.CategoryFigure, Value: &o.respacing, Standard: "as trained", Usage: "evaluate on a subset of the timesteps, `SPEC`, such as 100: faster, and a different bound"},
		cli.EMAOption(&o.ema, cli.CategoryFigure),
		cli.Option{Name: "seed", Category: cli.CategoryFigure, Value: &o.seed, Usage: "random seed `N` of the noise"},
		cli.PrecisionOption(&o.precision, cli.CategoryRun),
		cli.ThreadsOption(&o.threads, cli.CategoryRun),
	)
}

func (o *figureModelOptions) validate() error {
	if o.number < 1 || o.batchSize < 1 {
		return cli.Errorf("--num-pictures and --batch-size must be above 0, not %d and %d", o.number, o.batchSize)
	}
	return checkThreads(o.threads)
}

func boundSources(args []string, o *figureModelOptions) ([]source, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return nil, cli.Errorf("name checkpoints or run folders, such as runs/001-emoji")
	}
	return sourcesOf(args)
}

// evaluated is the bound of a model on some images.
type evaluated struct {
	schedule diffusion.Schedule
	vb       []float64 // [T], bits/dim, the decoder term first
	square   float64   // mean of the images' squared values
	// differences are those of samples from real images by the number of timesteps of the reverse
	// process; empty unless --num-samples is set.
	differences map[int]float64
}

// evaluateBound computes the bound of a checkpoint.
func (s *session) evaluateBound(ctx context.Context, from source, o *figureModelOptions) (evaluated, error) {
	if err := s.use(o.device); err != nil {
		return evaluated{}, err
	}
	s.setThreads(o.threads)
	checkpoint, err := figureCheckpoint(from.path, needsCheckpoint)
	if err != nil {
		return evaluated{}, err
	}
	if o.samples > 0 && checkpoint.Config.Model.SuperRes() {
		return evaluated{}, cli.Errorf("--num-samples: %s is a super-resolution network, which cannot sample without low-resolution images", from.path)
	}
	if o.respacing != "" {
		checkpoint.Config.Diffusion.TimestepRespacing = o.respacing
		if err := checkpoint.Config.Diffusion.Validate(); err != nil {
			return evaluated{}, cli.Usage(err)
		}
	}
	real, err := o.images(checkpoint)
	if err != nil {
		return evaluated{}, err
	}
	m, err := s.loadModel(checkpoint, o.ema, o.precision)
	if err != nil {
		return evaluated{}, err
	}
	defer m.Free()
	defer s.screen.Done()
	s.log.Info("evaluating the bound", zap.String("checkpoint", checkpoint.Path), zap.Int("images", real.Len()), zap.Int("timesteps", m.Diffusion().NumTimesteps()))
	e, err := s.bound(ctx, m, o, real)
	if err == nil && o.samples > 0 {
		e.differences, err = s.skipDifferences(ctx, m, checkpoint, o, real)
	}
	return e, err
}

// images reads images spread evenly over the evaluation set of a model.
func (o *figureModelOptions) images(c *checkpoint.Checkpoint) (inference.Images, error) {
	set, err := evaluationSet(c, o.dataDir, o.split, o.number)
	if err != nil {
		return inference.Images{}, err
	}
	defer set.Close()
	pixels, labels, err := set.Images()
	return inference.Images{Size: set.ImageSize(), Pixels: pixels, Labels: labels}, err
}

// bound averages the terms of the bound over images.
func (s *session) bound(ctx context.Context, m *inference.Model, o *figureModelOptions, images inference.Images) (evaluated, error) {
	s.expect(batches(images.Len(), o.batchSize) * m.Diffusion().NumTimesteps())
	sum, err := m.Likelihood(ctx, images.Source(), images.Len(), inference.LikelihoodOptions{
		BatchSize: o.batchSize, Seed: o.seed,
		Progress: func(p inference.Progress) error {
			s.threads.Adapt()
			s.screen.Show(p.Step, p.Steps, "terms of the bound ")
			return nil
		},
	})
	if err != nil {
		return evaluated{}, withRemedy(err, "there is no figure of it")
	}
	e := evaluated{schedule: m.Diffusion().Schedule, vb: sum.Mean(sum.VB), square: meanSquare(images.Pixels)}
	slices.Reverse(e.vb)
	return e, nil
}

// meanSquare returns the mean of the squared values of images, in [-1, 1].
func meanSquare(pixels []byte) (mean float64) {
	for _, p := range pixels {
		v := float64(p)/127.5 - 1
		mean += v * v / float64(len(pixels))
	}
	return mean
}

// skippedTenths is the number of samplings of --num-samples: they skip 0, 1, ... tenths of the
// timesteps.
const skippedTenths = 10

// skipDifferences generates samples by shortened processes and compares them with real images: the
// difference by the number of timesteps. All begin with the same noise, whatever is skipped.
func (s *session) skipDifferences(ctx context.Context, m *inference.Model, c *checkpoint.Checkpoint, o *figureModelOptions, real inference.Images) (map[int]float64, error) {
	compare, err := skipMetric(ctx, c, o, real)
	if err != nil {
		return nil, err
	}
	differences, steps := map[int]float64{}, m.Diffusion().NumTimesteps()
	for tenth := range skippedTenths {
		skip := min(steps*tenth/skippedTenths, steps-1)
		if _, known := differences[steps-skip]; known {
			continue
		}
		samples, err := m.Sample(ctx, inference.SampleOptions{
			Count: o.samples, BatchSize: o.batchSize, Seed: o.seed, SkipSteps: skip, Classes: m.TrainedClasses(),
			Progress: func(p inference.Progress) error {
				s.screen.Show(steps-skip-p.T, steps-skip, "samples ")
				return nil
			},
		})
		if err != nil {
			return nil, withRemedy(err, "there is no figure of it")
		}
		if differences[steps-skip], err = compare(ctx, samples.Images); err != nil {
			return nil, err
		}
	}
	return differences, nil
}

// skipMetric returns the function that compares samples: with training images by FID or KID, or by
// octaves, dB, with the images of the bound.
func skipMetric(ctx context.Context, c *checkpoint.Checkpoint, o *figureModelOptions, real inference.Images) (func(context.Context, inference.Images) (float64, error), error) {
	if o.by != nil {
		return o.by.to(ctx, c, o.dataDir, o.split)
	}
	want := figure.Octaves(real.Pixels, real.Size)
	return func(_ context.Context, samples inference.Images) (float64, error) {
		return figure.Decibels(figure.Octaves(samples.Pixels, samples.Size), want), nil
	}, nil
}
