package main

import (
	"fmt"
	"slices"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
)

// nllOptions are the flags of nll, in addition to those of the network.
type nllOptions struct {
	sessionOptions
	inferenceOptions
	remoteOptions
	preset    string
	dataDir   string
	split     string
	number    int
	batchSize int
	seed      uint64
	dir       string
}

func newNLLOptions() *nllOptions {
	return &nllOptions{sessionOptions: defaultSession(), inferenceOptions: defaultInference(), batchSize: 16}
}

func (o *nllOptions) options() []cli.Option {
	return append(slices.Concat(o.sessionOptions.options(), o.inferenceOptions.options(cli.CategoryEvaluation), o.remoteOptions.options()),
		cli.PresetOption(&o.preset), cli.ConfigOption(), o.processesOption(), o.connectOption(),
		cli.Option{Name: "data-dir", Alias: "data", Category: cli.CategoryData, Local: true, Value: &o.dataDir, Standard: "what the run held out, or else was trained on", Usage: "evaluate on the images in `DIR`: a folder, a zip or an archive, as for train"},
		cli.SplitOption(&o.split),
		cli.Option{Name: "num-samples", Category: cli.CategoryEvaluation, Value: &o.number, Usage: "evaluate on `N` images, spread evenly over the set (0: all)"},
		cli.Option{Name: "batch-size", Category: cli.CategoryEvaluation, Value: &o.batchSize, Usage: "`N` images per batch in each process; every finished batch is saved"},
		cli.Option{Name: "seed", Category: cli.CategoryEvaluation, Value: &o.seed, Usage: "random seed `N`; the noise of image i is a function of N and i"},
		cli.Option{Name: "out-dir", Alias: "o", Category: cli.CategoryRun, Local: true, Value: &o.dir, Standard: "the run's nll/step-N", Variable: "OPENAI_LOGDIR", Usage: "write to `DIR`"},
	)
}

func (o *nllOptions) validate() error {
	switch {
	case o.number < 0:
		return cli.Errorf("--num-samples must not be negative, but is %d", o.number)
	case o.batchSize < 1:
		return cli.Errorf("--batch-size must be above 0, not %d", o.batchSize)
	}
	return nil
}

// nllDir returns the default folder for an evaluation of a checkpoint: in its run folder, if it is
// in one. A respaced process has a folder of its own.
func nllDir(c *checkpoint.Checkpoint) string {
	name := fmt.Sprintf("step-%06d", c.Step)
	if spec := c.Config.Diffusion.TimestepRespacing; spec != "" {
		name += "-" + spec
	}
	return inRunFolder(c, "nll", name)
}
