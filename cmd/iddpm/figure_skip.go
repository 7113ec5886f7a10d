package main

import (
	"context"
	"math"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/figure"
	"iddpm/train"
)

var skipStepsFigure = figureSpec{
	name:      "skip-steps",
	usage:     "skipping the first steps of the reverse process (figure 4)",
	arguments: "CKPT_OR_RUN_DIR...",
	description: `Plots the cost of skipping the first part of the reverse process, starting from pure noise at a
later timestep: figure 4 of the paper, which shows FID. Here the measure is the variational bound
of the shortened process, in bits/dim on a few images: it is exact, since the shortened process is
a model too, and costs one evaluation of the terms. Where the end of the forward process has more
noise than needed, as with the linear schedule, the curve starts flat.

With --num-samples the shortened processes also generate samples, with a fraction of 0, 0.1, ...,
0.9 skipped, and a second panel compares their statistics with those of real images: the energy per
octave of spatial frequency, as the root mean square difference in dB. It detects remaining noise
and missing detail; it is no FID and does not measure whether an image makes sense. An argument may
be NAME=PATH.

Examples:
  iddpm figure skip-steps linear=runs/001-custom cosine=runs/002-custom
  iddpm figure skip-steps runs/001-emoji --timestep-respacing 100 --num-samples 64`,
	begin: func() ([]option, draw) {
		o := newFigureModelOptions()
		samples := option{name: "num-samples", category: categoryFigure, value: &o.samples, usage: "generate `N` samples with each of the ten shortened processes, and compare their statistics"}
		return append(o.options(), samples), func(ctx context.Context, s *session, args []string) (drawing, error) {
			return s.drawSkips(ctx, args, o)
		}
	},
}

func (s *session) drawSkips(ctx context.Context, args []string, o *figureModelOptions) (drawing, error) {
	if o.samples < 0 {
		return nil, wrongUse("num-samples must not be negative, but is %d", o.samples)
	}
	sources, err := boundSources(args, o)
	if err != nil {
		return nil, err
	}
	var models []figure.SkipModel
	for _, from := range sources {
		e, err := s.evaluateBound(ctx, from, o)
		if err != nil {
			return nil, err
		}
		models = append(models, figure.SkipModel{Name: from.name, Schedule: e.schedule, VB: e.vb, Square: e.square, Differences: e.differences})
	}
	chart, err := figure.SkipSteps(models)
	return chart, err
}

// skippedTenths are the shares of the reverse process, in tenths, that are left
// out in turn.
const skippedTenths = 10

// sample draws images by shortened processes, and compares their octaves with
// those of the real ones.
func (b *boundSum) sample(ctx context.Context, real []float64) error {
	b.differences = map[int]float64{}
	if b.o.samples == 0 {
		return nil
	}
	for tenth := range skippedTenths {
		steps := b.diffusion.NumTimesteps()
		skip := min(steps*tenth/skippedTenths, steps-1)
		var drawn []byte
		for first := 0; first < b.o.samples; first += b.o.batchSize {
			pixels, err := b.draw(ctx, first, min(b.o.batchSize, b.o.samples-first), skip)
			if err != nil {
				return err
			}
			drawn = append(drawn, pixels...)
		}
		b.differences[steps-skip] = decibels(octaves(drawn, b.config.ImageSize), real)
	}
	return nil
}

// draw samples n images, bytes [n, H, W, 3], without the first skip steps.
// Whatever is skipped, they begin with the same noise.
func (b *boundSum) draw(ctx context.Context, first, n, skip int) (pixels []byte, err error) {
	gotorch.Scope(func() {
		noise := b.noise(b.o.seed, first, n)
		labels := make([]int64, n)
		for i := range labels {
			if len(b.trained) > 0 {
				labels[i] = b.trained[(first+i)%len(b.trained)]
			}
		}
		options := diffusion.SampleOptions{SkipSteps: skip, Noise: noise.At, GraphCache: &b.graphs, Progress: func(t int, _ gotorch.Tensor) error {
			b.screen.show(b.diffusion.NumTimesteps()-skip-t, b.diffusion.NumTimesteps()-skip, "samples ")
			return nil
		}}
		var x gotorch.Tensor
		if x, err = b.diffusion.SampleLoop(ctx, b.denoise, noise.XT(), b.cond(labels), options); err == nil {
			pixels = train.TensorToPixels(x)
		}
	})
	return pixels, err
}

// octaves returns the energy of images, bytes [N, size, size, 3], by octaves of
// detail, the finest first: the mean square of what averaging 2 x 2 values takes
// away (the Haar wavelet's), over and over, and last the variance of what is
// left.
func octaves(pixels []byte, size int) (energies []float64) {
	values := make([]float64, len(pixels))
	for i, b := range pixels {
		values[i] = float64(b)/127.5 - 1
	}
	for ; size%2 == 0; size /= 2 {
		coarse, lost := halve(values, size), 0.0
		for i, v := range values {
			row, column, channel := i/(3*size), i/3%size, i%3
			d := v - coarse[(row/2*(size/2)+column/2)*3+channel]
			lost += d * d
		}
		energies = append(energies, lost/float64(len(values)))
		values = coarse
	}
	mean, square := 0.0, 0.0
	for _, v := range values {
		mean, square = mean+v/float64(len(values)), square+v*v/float64(len(values))
	}
	return append(energies, square-mean*mean)
}

// halve averages 2 x 2 values of images [N, size, size, 3]; rows of all
// images are counted on, since size is even.
func halve(values []float64, size int) []float64 {
	coarse := make([]float64, len(values)/4)
	for i, v := range values {
		row, column, channel := i/(3*size), i/3%size, i%3
		coarse[(row/2*(size/2)+column/2)*3+channel] += v / 4
	}
	return coarse
}

// decibels returns the root mean square of the differences of two lists of
// energies, in dB. Energies below what rounding to bytes leaves count as that.
func decibels(a, b []float64) float64 {
	const floor = 1. / (127.5 * 127.5 * 12)
	sum := 0.0
	for i := range a {
		d := 10 * math.Log10(max(a[i], floor)/max(b[i], floor))
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a)))
}
