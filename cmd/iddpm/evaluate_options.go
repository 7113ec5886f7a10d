package main

import (
	"slices"

	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// evaluateOptions are the flags of evaluate.
type evaluateOptions struct {
	sessionOptions
	remoteOptions
	config     runconfig.Config // only its data settings are used
	classifier classifierOptions
	size       int
	split      string
	ref        string
	numRef     int
	number     int
	batchSize  int
	threads    int
	inception  string
	stats      string
}

func newEvaluateOptions() *evaluateOptions {
	return &evaluateOptions{sessionOptions: defaultSession(), classifier: newClassifierOptions()}
}

func (o *evaluateOptions) options() []cli.Option {
	options := append(slices.Concat(o.sessionOptions.options(), o.remoteOptions.options(), o.classifier.evaluationOptions()), cli.ConfigOption(),
		cli.Option{Name: "ref", Category: cli.CategoryData, Local: true, Value: &o.ref, Usage: "compare with `REF`: images from any source that train accepts, or an .npz of statistics"},
		cli.Option{Name: "split", Category: cli.CategoryData, Value: &o.split, Usage: "for CIFAR and the like, REF is the images of `SPLIT`: train or test; for Parquet and tar files also validation"},
		cli.Option{Name: "num-ref", Category: cli.CategoryData, Value: &o.numRef, Usage: "use `N` images of REF, spread evenly over it (0: all)"},
		cli.Option{Name: "num-samples", Category: cli.CategoryEvaluation, Value: &o.number, Usage: "use `N` samples, spread evenly over the file (0: all)"},
		cli.Option{Name: "image-size", Category: cli.CategoryData, Value: &o.size, Standard: "that of most samples", Usage: "preprocess all images to `N` x N pixels first"},
		cli.Option{Name: "batch-size", Category: cli.CategoryEvaluation, Value: &o.batchSize, Standard: "64 on a GPU, 16 on a CPU", Usage: "`N` images per batch"},
		cli.Option{Name: "inception", Category: cli.CategoryEvaluation, Local: true, Value: &o.inception, Standard: "downloaded once", Usage: "read the weights of the Inception network from `FILE`"},
		cli.Option{Name: "save-stats", Category: cli.CategoryEvaluation, Local: true, Value: &o.stats, Usage: "write the statistics and features of the samples to `FILE`.npz, for a later --ref"},
		cli.Option{Name: "threads", Category: cli.CategoryRun, Value: &o.threads, Usage: "CPU threads, `N`, fixed (0: one per core that other programs leave free)"},
	)
	return append(options, cli.Select(cli.DataOptions(&o.config), "labels", "exif-orientation", "jpeg-decoder", "background", "max-bad-images")...)
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
			return cli.Errorf("--%s must not be negative, but is %d", n.name, n.value)
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
	case o.classifier.path == "" && (o.config.Data.Labels != "" || o.classifier.ema != ""):
		return cli.Errorf("--labels and --classifier-ema are for --classifier")
	}
	if err := o.config.Data.Validate(); err != nil {
		return cli.Usage(err)
	}
	return nil
}

// usesInception reports whether a metric needs features of the Inception network.
func (o *evaluateOptions) usesInception() bool {
	return o.classifier.path == "" || o.ref != "" || o.stats != ""
}

// settings returns the options of a data set of at most limit images of a size, without classes.
func (o *evaluateOptions) settings(size int, split string, limit int) data.Options {
	c := o.config
	c.Model.ImageSize, c.Data.Labels = size, ""
	settings := c.DataOptions()
	settings.Split, settings.Limit, settings.CacheBytes = split, limit, -1
	return settings
}
