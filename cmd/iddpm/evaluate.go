package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/internal/terminal"
	"iddpm/train"
)

// evaluateOptions are the flags of evaluate.
type evaluateOptions struct {
	sessionOptions
	config    train.Config // only its data settings are used
	size      int
	split     string
	ref       string
	numRef    int
	number    int
	batchSize int
	threads   int
	inception string
	stats     string
}

func newEvaluateOptions() *evaluateOptions {
	return &evaluateOptions{sessionOptions: defaultSession()}
}

func (o *evaluateOptions) options() []cli.Option {
	options := append(o.sessionOptions.options(), cli.ConfigOption(),
		cli.Option{Name: "ref", Category: cli.CategoryData, Local: true, Value: &o.ref, Usage: "compare with `REF`: images from any source that train accepts, or an .npz of statistics"},
		cli.Option{Name: "split", Category: cli.CategoryData, Value: &o.split, Usage: "for CIFAR and the like, REF is the images of `SPLIT`: train or test"},
		cli.Option{Name: "num-ref", Category: cli.CategoryData, Value: &o.numRef, Usage: "use `N` images of REF, spread evenly over it (0: all)"},
		cli.Option{Name: "num-samples", Category: cli.CategoryEvaluation, Value: &o.number, Usage: "use `N` samples, spread evenly over the file (0: all)"},
		cli.Option{Name: "image-size", Category: cli.CategoryData, Value: &o.size, Standard: "that of most samples", Usage: "preprocess all images to `N` x N pixels first"},
		cli.Option{Name: "batch-size", Category: cli.CategoryEvaluation, Value: &o.batchSize, Standard: "64 on a GPU, 16 on a CPU", Usage: "`N` images per batch"},
		cli.Option{Name: "inception", Category: cli.CategoryEvaluation, Local: true, Value: &o.inception, Standard: "downloaded once", Usage: "read the weights of the Inception network from `FILE`"},
		cli.Option{Name: "save-stats", Category: cli.CategoryEvaluation, Local: true, Value: &o.stats, Usage: "write the statistics and features of the samples to `FILE`.npz, for a later --ref"},
		cli.Option{Name: "threads", Category: cli.CategoryRun, Value: &o.threads, Usage: "CPU threads, `N`, fixed (0: one per core that other programs leave free)"},
	)
	return append(options, cli.Select(cli.DataOptions(&o.config), "exif-orientation", "jpeg-decoder", "background", "max-bad-images")...)
}

func (o *evaluateOptions) validate(paths []string) error {
	if len(paths) == 0 {
		return cli.Errorf("name the samples to evaluate, as in: iddpm evaluate SAMPLES --ref REF")
	}
	for i, path := range paths {
		switch {
		case path == "":
			return cli.Errorf("one of the samples has an empty name")
		case slices.Contains(paths[:i], path):
			return cli.Errorf("%s is named twice, and would count twice", path)
		}
		if err := cli.OnThisMachine(path); err != nil {
			return err
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"num-ref", o.numRef}, {"num-samples", o.number}, {"image-size", o.size}, {"batch-size", o.batchSize}, {"threads", o.threads}} {
		if n.value < 0 {
			return cli.Errorf("%s must not be negative, but is %d", n.name, n.value)
		}
	}
	switch {
	case len(paths) > 1 && o.number > 0:
		return cli.Errorf("--num-samples selects from one file: leave it out, or name one file")
	case o.stats != "" && !cli.IsNPZ(o.stats):
		return cli.Errorf("--save-stats %s: the name must end in .npz", o.stats)
	case cli.Exists(o.stats):
		return cli.Errorf("--save-stats %s exists: name another file, or remove it", o.stats)
	case o.ref == "" && (o.split != "" || o.numRef > 0):
		return cli.Errorf("--split and --num-ref select images of REF: name it by --ref")
	}
	if err := o.config.Data.Validate(); err != nil {
		return cli.Usage(err)
	}
	return nil
}

// settings returns the options of a data set of at most limit images of a size.
func (o *evaluateOptions) settings(size int, split string, limit int) data.Options {
	c := o.config
	c.Model.ImageSize = size
	settings := c.DataOptions()
	settings.Split, settings.Limit, settings.CacheBytes = split, limit, -1
	return settings
}

func (p *program) evaluateCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "evaluate",
		Usage:     "compute FID, sFID, KID, Inception Score, precision and recall of samples",
		UsageText: "iddpm evaluate SAMPLES... --ref REF [FLAGS]",
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

Without --ref only the Inception Score is computed. REF may also be statistics from --save-stats,
pytorch-fid or guided-diffusion's reference batches; metrics that need images are omitted where the
file has none.

The weights of the network (95 MB) are downloaded once, or read from the file given by --inception:
pt_inception-2015-12-05-6726825d.pth from the releases of pytorch-fid.

Examples:
  iddpm sample runs/003-cifar10 --num-samples 50000 --batch-size 500
  iddpm evaluate runs/003-cifar10/samples/step-500000 --ref cifar-10-binary.tar.gz --split train
  iddpm evaluate photos --image-size 64 --save-stats photos-64.npz
  iddpm evaluate samples_50000x64x64x3.npz --ref photos-64.npz --json`,
		Flags:           cli.FlagsOf(newEvaluateOptions().options()...),
		HideHelpCommand: true,
		Action:          p.evaluate,
	}
}

func (p *program) evaluate(c *urfave.Context) error {
	o := newEvaluateOptions()
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
	if weights == "" {
		if weights, err = s.inceptionWeights(c.Context); err != nil {
			return err
		}
	}
	result, err := e.run(c.Context, weights)
	if err != nil {
		return err
	}
	return s.emit(result, result.text)
}

// evaluateResult is what evaluate prints. Metrics that REF does not allow are null.
type evaluateResult struct {
	Samples           []string `json:"samples"`
	NumSamples        int      `json:"num_samples"`
	Ref               string   `json:"ref,omitempty"`
	NumRef            int      `json:"num_ref,omitempty"` // images of REF whose features were computed
	ImageSize         int      `json:"image_size"`
	FID               *float64 `json:"fid"`
	SFID              *float64 `json:"sfid"`
	InceptionScore    float64  `json:"inception_score"`
	InceptionScoreStd float64  `json:"inception_score_std"` // over splits of 5000 samples
	KID               *float64 `json:"kid"`
	KIDStd            *float64 `json:"kid_std"`    // over subsets of at most 1000 images
	KIDStdErr         *float64 `json:"kid_stderr"` // of the mean over subsets
	Precision         *float64 `json:"precision"`
	Recall            *float64 `json:"recall"`
	Stats             string   `json:"stats,omitempty"` // .npz
	Seconds           float64  `json:"seconds"`
}

func (r *evaluateResult) text(w io.Writer) error {
	t := terminal.Table{}
	t.Line("samples", "%s: %d of %d x %d pixels", strings.Join(r.Samples, ", "), r.NumSamples, r.ImageSize, r.ImageSize)
	switch {
	case r.NumRef > 0:
		t.Line("reference", "%s: %d images", r.Ref, r.NumRef)
	case r.Ref != "":
		t.Line("reference", "%s: statistics", r.Ref)
	}
	for _, v := range []struct {
		name  string
		value *float64
	}{{"FID", r.FID}, {"sFID", r.SFID}} {
		if v.value != nil {
			t.Line(v.name, "%.4f", *v.value)
		}
	}
	if r.KID != nil {
		t.Line("KID", "%.6f ± %.6f", *r.KID, *r.KIDStdErr)
	}
	t.Line("Inception Score", "%.4f ± %.4f", r.InceptionScore, r.InceptionScoreStd)
	if r.Precision != nil {
		t.Line("precision", "%.4f", *r.Precision)
		t.Line("recall", "%.4f", *r.Recall)
	}
	if r.Stats != "" {
		t.Line("statistics", "%s", r.Stats)
	}
	_, err := fmt.Fprint(w, t.String())
	return err
}
