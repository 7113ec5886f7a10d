package main

import (
	"context"
	"fmt"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/figure"
	"iddpm/internal/cli"
)

var vlbTermsFigure = figureSpec{
	name:      "vlb-terms",
	usage:     "terms of the variational bound (figure 2)",
	arguments: "CKPT_OR_RUN_DIR_OR_NPZ...",
	weights:   true,
	description: `Plots the terms of the variational bound against the diffusion timestep, both axes logarithmic:
figure 2 of the paper. The first few timesteps contribute most of the bits. The terms come from a
vb_terms.npz, written by "iddpm nll" or improved-diffusion's image_nll.py, or are computed for a
checkpoint, in bits/dim averaged over a few images. An argument may be NAME=PATH.

Examples:
  iddpm figure vlb-terms runs/001-emoji --timestep-respacing 100
  iddpm figure vlb-terms linear=nll/linear/vb_terms.npz cosine=nll/cosine/vb_terms.npz`,
	begin: func() ([]cli.Option, draw) {
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

// termsOf returns the terms of a model, [T], the decoder term first.
func (s *session) termsOf(ctx context.Context, from source, o *figureModelOptions) ([]float64, error) {
	if cli.IsNPZ(from.path) {
		return readTerms(from.path)
	}
	e, err := s.evaluateBound(ctx, from, o)
	return e.vb, err
}

// readTerms reads a vb_terms.npz: arr_0, [T] or [N, T], the last timestep first, as in the
// reference. It returns [T], the decoder term first.
func readTerms(path string) ([]float64, error) {
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		return nil, err
	}
	a := arrays["arr_0"]
	if a == nil || len(a.Shape) < 1 || len(a.Shape) > 2 || a.Len() == 0 {
		return nil, fmt.Errorf("%s is not a vb_terms.npz: its arr_0 must be [T] or [N, T]", path)
	}
	steps := int(a.Shape[len(a.Shape)-1])
	rows := a.Len() / steps
	terms := make([]float64, steps)
	for i, v := range a.Float64s() {
		terms[steps-1-i%steps] += v / float64(rows)
	}
	return terms, nil
}
