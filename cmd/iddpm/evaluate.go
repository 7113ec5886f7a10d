package main

import (
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"iddpm/internal/cli"
)

func (p *program) evaluateCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "evaluate",
		Usage:     "compute FID, sFID, KID, Inception Score, precision and recall of samples",
		UsageText: "iddpm evaluate SAMPLES... [--ref REF] [--classifier CKPT] [FLAGS]",
		Description: `Compares SAMPLES from "iddpm sample" (an .npz, several parts of one set, or any source of
images) with the images of REF, using the features of the Inception network of 2015 as
guided-diffusion's evaluator does, but in float32 throughout. FID is the Frechet distance between
pooled features, sFID between spatial features: smaller is better. KID, the squared maximum mean
discrepancy of pooled features over 100 subsets of 1,000 images, with its standard error, is
unbiased: it may be used, and be compared, with few samples, too. Inception Score, precision
(fraction of samples within the manifold of REF) and recall (fraction of REF within the manifold of
the samples): larger is better. Except for KID, only compare numbers of equally many samples: papers
use 50,000.
All images are preprocessed to the size of the samples, as for training; statistics must be of that
size, too.

--classifier reports the accuracy of a classifier from "iddpm train --classifier", or of
guided-diffusion, on the labels of the samples: how many samples of a class-conditional model look
like their class. Train another one for it than the one that guided the samples.

Without --ref only the Inception Score is computed, or only the accuracy with --classifier. REF may also be statistics from --save-stats,
pytorch-fid or guided-diffusion's reference batches; metrics that need images are omitted where the
file has none.

The weights of the network (95 MB) are downloaded once, or read from the file given by --inception:
pt_inception-2015-12-05-6726825d.pth from the releases of pytorch-fid.

Examples:
  iddpm sample runs/003-cifar10 --num-samples 50000 --batch-size 500
  iddpm evaluate runs/003-cifar10/samples/step-500000 --ref cifar-10-binary.tar.gz --split train
  iddpm evaluate photos --image-size 64 --save-stats photos-64.npz
  iddpm evaluate samples_50000x64x64x3.npz --ref photos-64.npz --json
  iddpm evaluate samples_1000x64x64x3.npz --classifier runs/005-classifier`,
		Flags:           cli.FlagsOf(newEvaluateOptions().options()...),
		HideHelpCommand: true,
		Action:          p.evaluate,
	}
}

func (p *program) evaluate(c *urfave.Context) error {
	o := newEvaluateOptions()
	o.classifier.given = c.IsSet
	paths := c.Args().Slice()
	if err := cli.Apply(c, o.options()); err != nil {
		return err
	}
	if err := o.validate(paths); err != nil {
		return err
	}
	s, err := p.open(o.sessionOptions)
	if err != nil {
		return err
	}
	if o.stats != "" {
		release, err := cli.MakeFolder(filepath.Dir(o.stats), "--save-stats")
		if err != nil {
			return err
		}
		defer release()
	}
	e, err := s.newEvaluation(c.Context, paths, o)
	if err != nil {
		return err
	}
	defer e.close()
	weights := o.inception
	switch {
	case !o.usesInception():
		weights = ""
	case weights == "":
		if weights, err = s.inceptionWeights(c.Context, "--inception"); err != nil {
			return err
		}
	}
	result, err := e.run(c.Context, weights)
	if err != nil {
		return err
	}
	return s.emit(result, result.text)
}
