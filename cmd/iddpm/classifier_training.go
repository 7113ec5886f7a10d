package main

import (
	urfave "github.com/urfave/cli/v2"

	"iddpm/internal/cli"
	"iddpm/model"
	"iddpm/runconfig"
)

// classifierTraining are the flags of train for a classifier of noisy images: guided-diffusion's
// classifier_train.py.
type classifierTraining struct {
	enabled bool
	config  model.ClassifierConfig
	noised  bool

	// guided-diffusion's names of other flags
	iterations int    // --steps
	anneal     bool   // --lr-anneal-steps
	useFP16    bool   // --precision fp16
	valDir     string // --eval-data
}

func newClassifierTraining() classifierTraining {
	return classifierTraining{config: model.DefaultClassifier(), noised: true}
}

func (o *classifierTraining) options() []cli.Option {
	return append([]cli.Option{
		{Name: "classifier", Category: cli.CategoryTraining, Value: &o.enabled,
			Usage: "train a classifier of noisy images, for sample --classifier, instead of a denoiser: on random crops and flips, as in guided-diffusion. Any --classifier- flag enables it"},
		{Name: "noised", Category: cli.CategoryTraining, Value: &o.noised, Usage: "with --classifier, train on images with the noise of random timesteps"},
		{Name: "iterations", Category: cli.CategoryTraining, Value: &o.iterations, Hidden: true},
		{Name: "anneal-lr", Category: cli.CategoryTraining, Value: &o.anneal, Hidden: true},
		{Name: "classifier-use-fp16", Category: cli.CategoryTraining, Value: &o.useFP16, Hidden: true},
		{Name: "val-data-dir", Category: cli.CategoryTraining, Local: true, Value: &o.valDir, Hidden: true},
	}, cli.ClassifierOptions(&o.config)...)
}

// enables reports whether the flags describe a classifier.
func (o *classifierTraining) enables(c *urfave.Context) bool {
	return o.enabled || cli.AnySet(c, cli.ClassifierOptions(&o.config))
}

// configure makes config that of a classifier, if the flags enable it. It runs after the other flags
// have been applied, and before the classes of the images are counted.
func (o *classifierTraining) configure(c *urfave.Context, config *runconfig.Config) {
	if o.iterations > 0 && !c.IsSet("steps") {
		config.Train.Steps = o.iterations
	}
	if o.anneal && !c.IsSet("lr-anneal-steps") {
		config.Train.LRAnnealSteps = config.Train.Steps
	}
	if !o.enables(c) {
		return
	}
	config.Classifier = &o.config
	config.Model.ClassCond, config.Train.CleanImages = true, !o.noised
	config.Data.RandomCrop = config.Data.RandomCrop || !c.IsSet("random-crop")
	config.Data.Flip = config.Data.Flip || !c.IsSet("random-flip")
	if o.useFP16 && !c.IsSet("precision") {
		config.Train.Precision = "fp16"
	}
	if o.valDir != "" && !c.IsSet("eval-data") {
		config.Eval.Dir = o.valDir
		if config.Eval.Interval == 0 {
			config.Eval.Interval = defaultValidation
		}
	}
}

// defaultValidation is the interval of --val-data-dir in steps, without --eval-interval.
const defaultValidation = 100

// fit copies what the images determine to the classifier's configuration.
func (o *classifierTraining) fit(config *runconfig.Config) {
	if config.Classifier != nil {
		config.Classifier.ImageSize, config.Classifier.NumClasses = config.Model.ImageSize, config.Model.NumClasses
	}
}
