package main

import (
	"context"
	"fmt"
	"math"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/internal/runs"
	"iddpm/model"
)

// classifierOptions are the flags of classifier guidance.
type classifierOptions struct {
	path    string
	scale   float64
	ema     string
	useFP16 bool                   // guided-diffusion's flag
	config  model.ClassifierConfig // of bare weights
	given   func(flag string) bool // whether a flag is given; nil: none is
}

func newClassifierOptions() classifierOptions {
	return classifierOptions{scale: 1, config: model.DefaultClassifier()}
}

func (o *classifierOptions) options() []cli.Option {
	return append([]cli.Option{
		{Name: "classifier", Alias: "classifier-path", Path: true, Category: cli.CategorySampling, Value: &o.path,
			Usage: "condition the samples by the classifier of noisy images in `CKPT`; the network itself need not know classes"},
		{Name: "classifier-scale", Category: cli.CategorySampling, Value: &o.scale, Usage: "scale `S` of the classifier's gradient (0: no guidance)"},
		{Name: "classifier-ema", Category: cli.CategorySampling, Value: &o.ema, Standard: cli.EMADefault, Usage: "load the classifier's EMA weights of decay `RATE`, or none"},
		{Name: "classifier-use-fp16", Category: cli.CategorySampling, Value: &o.useFP16, Hidden: true},
	}, cli.ClassifierOptions(&o.config)...)
}

func (o *classifierOptions) validate() error {
	if math.IsNaN(o.scale) || math.IsInf(o.scale, 0) {
		return cli.Errorf("--classifier-scale must be a number, not %g", o.scale)
	}
	return nil
}

// precision returns the classifier's compute precision, given that of the network.
func (o *classifierOptions) precision(network string) string {
	if o.useFP16 {
		return "fp16"
	}
	return network
}

// load reads the classifier's checkpoint, if there is one, and completes its configuration for
// images of the guided network's size.
func (o *classifierOptions) load(ctx context.Context, r *runs.Remotes, path string, guided *checkpoint.Checkpoint) (*checkpoint.Checkpoint, error) {
	if path == "" {
		return nil, nil
	}
	c, err := o.read(ctx, r, path)
	if err != nil {
		return nil, err
	}
	return c, o.complete(c, guided.Config.Model.ImageSize)
}

// read reads the classifier's checkpoint.
func (o *classifierOptions) read(ctx context.Context, r *runs.Remotes, path string) (*checkpoint.Checkpoint, error) {
	c, err := r.Checkpoint(ctx, path)
	if err != nil {
		return nil, err
	}
	if !c.Bare && c.Config.Classifier == nil {
		return nil, notClassifier(path)
	}
	return c, nil
}

// complete sets the configuration to that of a checkpoint. The network of bare weights is identified
// by their parameters, and classifies images of imageSize pixels unless these determine the size, too.
func (o *classifierOptions) complete(c *checkpoint.Checkpoint, imageSize int) error {
	if !c.Bare {
		o.config = *c.Config.Classifier
		return nil
	}
	found, err := c.Identify()
	if err != nil {
		return fmt.Errorf("classifier %s: %w", c.Path, err)
	}
	if found.Network.Pool == "" {
		return notClassifier(c.Path)
	}
	o.config.ImageSize = imageSize
	if found.Network.ImageSize > 0 || found.Published != nil {
		o.config.ImageSize = found.ImageSize()
	}
	var wrong []string
	for _, x := range found.ClassifierContradictions(o.config) {
		if o.given != nil && o.given(x.Setting) {
			wrong = append(wrong, "--"+x.Error())
		}
	}
	found.Network.ApplyClassifier(&o.config)
	return contradiction(c.Path, wrong)
}

func notClassifier(path string) error {
	return fmt.Errorf("--classifier: %s holds a denoiser, no classifier", path)
}

// evaluationOptions are the flags of the classifier in evaluate.
func (o *classifierOptions) evaluationOptions() []cli.Option {
	return append([]cli.Option{
		{Name: "classifier", Path: true, Category: cli.CategoryEvaluation, Value: &o.path,
			Usage: "report how many samples the classifier in `CKPT` assigns to the class of their label"},
		{Name: "classifier-ema", Category: cli.CategoryEvaluation, Value: &o.ema, Standard: cli.EMADefault, Usage: "load the classifier's EMA weights of decay `RATE`, or none"},
	}, cli.ClassifierOptions(&o.config)...)
}
