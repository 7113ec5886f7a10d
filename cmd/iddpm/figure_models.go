package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch/npy"
	"go.uber.org/zap"

	"iddpm/diffusion"
	"iddpm/figure"
	"iddpm/train"
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
	samples   int // per length of the reverse process, for skip-steps
}

func newFigureModelOptions() *figureModelOptions {
	return &figureModelOptions{sessionOptions: defaultSession(), number: 16, batchSize: 16, precision: "auto"}
}

func (o *figureModelOptions) options() []option {
	var session []option
	for _, s := range o.sessionOptions.options() {
		if s.name != "json" { // every figure has it
			session = append(session, s)
		}
	}
	return append(session,
		option{name: "data-dir", category: categoryData, local: true, value: &o.dataDir, standard: "what the run held out, or else was trained on", usage: "evaluate on the images in `DIR`, a folder or a zip"},
		splitOption(&o.split),
		option{name: "num-pictures", category: categoryFigure, value: &o.number, usage: "average over `N` images, spread evenly over the set"},
		option{name: "batch-size", category: categoryFigure, value: &o.batchSize, usage: "`N` images per batch"},
		option{name: "timestep-respacing", category: categoryFigure, value: &o.respacing, standard: "as trained", usage: "evaluate on a subset of the timesteps, `SPEC`, such as 100: faster, and a different bound"},
		emaOption(&o.ema, categoryFigure),
		option{name: "seed", category: categoryFigure, value: &o.seed, usage: "random seed `N` of the noise"},
		precisionOption(&o.precision, categoryRun),
	)
}

func (o *figureModelOptions) validate() error {
	if o.number < 1 || o.batchSize < 1 {
		return wrongUse("num-pictures and batch-size must be above 0, not %d and %d", o.number, o.batchSize)
	}
	return nil
}

var vlbTermsFigure = figureSpec{
	name:      "vlb-terms",
	usage:     "terms of the variational bound (figure 2)",
	arguments: "CKPT_OR_RUN_DIR_OR_NPZ...",
	description: `Plots the terms of the variational bound against the diffusion timestep, both axes logarithmic:
figure 2 of the paper. The first few timesteps contribute most of the bits. The terms come from a
vb_terms.npz, written by "iddpm nll" or improved-diffusion's image_nll.py, or are computed for a
checkpoint, in bits/dim averaged over a few images. An argument may be NAME=PATH.

Examples:
  iddpm figure vlb-terms runs/001-emoji --timestep-respacing 100
  iddpm figure vlb-terms linear=nll/linear/vb_terms.npz cosine=nll/cosine/vb_terms.npz`,
	begin: func() ([]option, draw) {
		o := newFigureModelOptions()
		return o.options(), func(ctx context.Context, s *session, args []string) (drawing, error) {
			return s.drawTerms(ctx, args, o)
		}
	},
}

func (s *session) drawTerms(ctx context.Context, args []string, o *figureModelOptions) (drawing, error) {
	sources, err := boundSources(args, o)
	if err != nil {
		return nil, err
	}
	var models []figure.ModelTerms
	for _, from := range sources {
		terms, err := s.termsOf(ctx, from, o)
		if err != nil {
			return nil, err
		}
		models = append(models, figure.ModelTerms{Name: from.name, VB: terms})
	}
	return figure.Terms(models), nil
}

func boundSources(args []string, o *figureModelOptions) ([]source, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return nil, wrongUse("name checkpoints or run folders, as in: runs/001-emoji")
	}
	return sourcesOf(args)
}

// termsOf returns the terms of a model, the decoder's first.
func (s *session) termsOf(ctx context.Context, from source, o *figureModelOptions) ([]float64, error) {
	if isNPZ(from.path) {
		return readTerms(from.path)
	}
	e, err := s.evaluateBound(ctx, from, o)
	return e.vb, err
}

// readTerms reads a vb_terms.npz: arr_0, [T] or [N, T], the last step's term
// first, as the reference computes them.
func readTerms(path string) ([]float64, error) {
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		return nil, err
	}
	a := arrays["arr_0"]
	if a == nil || len(a.Shape) < 1 || len(a.Shape) > 2 || a.Len() == 0 {
		return nil, fmt.Errorf("%s is no vb_terms.npz: its arr_0 must be [T] or [N, T]", path)
	}
	steps := int(a.Shape[len(a.Shape)-1])
	rows := a.Len() / steps
	terms := make([]float64, steps)
	for i, v := range a.Float64s() {
		terms[steps-1-i%steps] += v / float64(rows)
	}
	return terms, nil
}

// evaluated is a model's bound on some images.
type evaluated struct {
	schedule diffusion.Schedule
	vb       []float64 // [T], bits/dim, the decoder's first
	square   float64   // mean of the images' squared values
	// differences are those of sampled images from the given ones, dB, by the
	// steps that the reverse process takes; empty unless samples are asked for.
	differences map[int]float64
}

// evaluateBound computes the bound of a checkpoint.
func (s *session) evaluateBound(ctx context.Context, from source, o *figureModelOptions) (evaluated, error) {
	if err := s.use(o.device); err != nil {
		return evaluated{}, err
	}
	checkpoint, err := train.LoadCheckpoint(from.path)
	if err != nil {
		return evaluated{}, err
	}
	if checkpoint.Bare {
		return evaluated{}, fmt.Errorf("%s holds weights alone, and no settings: figures need a checkpoint of iddpm", from.path)
	}
	if o.samples > 0 && checkpoint.Config.Model.SuperRes() {
		return evaluated{}, wrongUse("--num-samples: %s draws nothing without images to enlarge", from.path)
	}
	x, labels, err := o.images(checkpoint)
	if err != nil {
		return evaluated{}, err
	}
	var e evaluated
	err = onTensorThread(func() (err error) {
		e, err = s.bound(ctx, checkpoint, o, x, labels)
		return err
	})
	s.screen.done()
	return e, err
}

// images reads images spread over the set that a model was trained on, or
// another: bytes [N, H, W, 3], and their labels.
func (o *figureModelOptions) images(c *train.Checkpoint) (pixels []byte, labels []int64, err error) {
	set, err := evaluationSet(c, o.dataDir, o.split, o.number)
	if err != nil {
		return nil, nil, err
	}
	defer set.Close()
	return set.Images()
}

// bound averages the terms over the images, batch by batch.
func (s *session) bound(ctx context.Context, checkpoint *train.Checkpoint, o *figureModelOptions, pixels []byte, labels []int64) (evaluated, error) {
	if o.respacing != "" {
		checkpoint.Config.Diffusion.TimestepRespacing = o.respacing
		if err := checkpoint.Config.Diffusion.Validate(); err != nil {
			return evaluated{}, usageError{err}
		}
	}
	network, err := s.newInference(checkpoint, o.ema, o.precision)
	if err != nil {
		return evaluated{}, err
	}
	defer network.Free()
	b := boundSum{evaluator: network, o: o, total: len(labels)}
	network.expect(batches(b.total, o.batchSize) * network.diffusion.NumTimesteps())
	s.log.Info("evaluating the bound", zap.String("checkpoint", checkpoint.Path), zap.Int("images", b.total), zap.Int("timesteps", network.diffusion.NumTimesteps()))
	for first := 0; first < b.total; first += o.batchSize {
		last := min(first+o.batchSize, b.total)
		bytes := len(pixels) / b.total
		batch := boundOptions{seed: o.seed, first: first, progress: b.progress}
		if err := network.bound(ctx, pixels[first*bytes:last*bytes], labels[first:last], batch, &b.sum); err != nil {
			return evaluated{}, err
		}
	}
	b.evaluated = evaluated{schedule: network.diffusion.Schedule, vb: b.sum.Mean(b.sum.VB), square: meanSquare(pixels)}
	slices.Reverse(b.vb)
	return b.evaluated, b.sample(ctx, octaves(pixels, b.config.ImageSize))
}

// meanSquare returns the mean of the squared values of images, in [-1, 1].
func meanSquare(pixels []byte) (mean float64) {
	for _, p := range pixels {
		v := float64(p)/127.5 - 1
		mean += v * v / float64(len(pixels))
	}
	return mean
}

// boundSum sums up the bound over batches.
type boundSum struct {
	*evaluator
	evaluated
	sum   diffusion.BPDSum
	o     *figureModelOptions
	total int // images
	steps int // taken, of all batches
}

func (b *boundSum) progress() error {
	b.steps++
	batches := (b.total + b.o.batchSize - 1) / b.o.batchSize
	b.screen.show(b.steps, batches*b.diffusion.NumTimesteps(), "terms of the bound ")
	return nil
}
