package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/train"
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
		return cli.Errorf("num-samples must not be negative, but is %d", o.number)
	case o.batchSize < 1:
		return cli.Errorf("batch-size must be above 0, not %d", o.batchSize)
	}
	return nil
}

func (p *program) nllCommand() *urfave.Command {
	config := train.Defaults()
	options := append(cli.NetworkOptions(&config), newNLLOptions().options()...)
	return &urfave.Command{
		Name:      "nll",
		Usage:     "compute the negative log-likelihood of images, in bits/dim",
		UsageText: "iddpm nll CKPT_OR_RUN_DIR [FLAGS]",
		Description: `Evaluates all terms of the variational bound on the negative log-likelihood (equation 4 of the
paper) with the EMA weights of a checkpoint: one forward pass per timestep and image. Prints the
total, the prior term L_T and the decoder term L_0 in bits/dim, with standard errors over the
images. Writes vb_terms.npz, mse_terms.npz and xstart_mse_terms.npz as improved-diffusion's
image_nll.py does (arr_0, averaged over the images, last timestep first), a plot of the terms, and
nll.npz with the bits/dim of each image.

After an interrupt the same command continues, to identical results; other settings write to a
folder of their own (step-N.2, ...). A respaced process is faster, but is a different model with a
different bound. Images held out by training (--hold-out) are used by default. Flags below that
are not given default to the checkpoint's settings; for bare weights, pass the model flags or a
--preset.

Examples:
  iddpm nll runs/001-emoji
  iddpm nll runs/001-emoji --timestep-respacing 100 --num-samples 64
  iddpm nll runs/003-cifar10 --data-dir cifar-10-binary.tar.gz --split test --batch-size 128
  iddpm nll cifar10_uncond_50M_500K.pt --preset cifar10 --data-dir cifar_test`,
		Flags:           append(cli.FlagsOf(options...), cli.PositionalFlag("model-path")),
		HideHelpCommand: true,
		Action:          p.nll,
	}
}

func (p *program) nll(c *urfave.Context) error {
	o := newNLLOptions()
	path, err := argument(c, "CKPT_OR_RUN_DIR")
	if err := errors.Join(err, cli.Apply(c, o.options())); err != nil {
		return err
	}
	if err := o.validate(); err != nil {
		return err
	}
	return p.distributedSession(c.Context, o.sessionOptions, func(s *session) error { return s.nllDistributed(c, path, o) })
}

// nllDistributed evaluates the bound, in this process or in several.
func (s *session) nllDistributed(c *urfave.Context, path string, o *nllOptions) error {
	remotes := s.remotes(o.remoteOptions)
	checkpoint, err := s.loadOnLeader(path, func(path string) (*train.Checkpoint, error) { return checkpointWithFlags(c, remotes, path, o.preset) })
	if err != nil {
		return err
	}
	files, err := s.nll(c.Context, checkpoint, o)
	return errors.Join(err, remotes.Publish(c.Context, path, files))
}

// nllDir returns the default folder for an evaluation of a checkpoint: in its run folder, if it is
// in one. A respaced process has a folder of its own.
func nllDir(c *train.Checkpoint) string {
	name := fmt.Sprintf("step-%06d", c.Step)
	if spec := c.Config.Diffusion.TimestepRespacing; spec != "" {
		name += "-" + spec
	}
	return inRunFolder(c, "nll", name)
}

// nll evaluates the bound, prints it, and returns the files that this process wrote.
func (s *session) nll(ctx context.Context, checkpoint *train.Checkpoint, o *nllOptions) (files []string, err error) {
	set, err := s.nllImages(checkpoint, o)
	if err = s.group.SyncError(err); err != nil {
		return nil, err
	}
	defer set.Close()
	e, err := s.newNLLEvaluation(checkpoint, set, o)
	if err != nil {
		return nil, err
	}
	defer e.release()
	start := time.Now()
	err = e.evaluate(ctx, checkpoint)
	s.screen.Done()
	saved := errors.Is(err, context.Canceled) && e.sum.Len() > 0
	if saved {
		err = fmt.Errorf("%w: %d of %d images; the same command resumes", errSavedInPart, e.sum.Len(), e.settings.Images)
	}
	switch {
	case err != nil && !saved, !s.group.IsLeader():
		return nil, err
	case saved:
		return []string{e.path()}, err
	}
	result, err := e.report(checkpoint, set.Name())
	if err != nil {
		return nil, err
	}
	result.Seconds = time.Since(start).Seconds()
	return result.files, s.emit(result, result.text)
}

// nllImages opens the set to evaluate on and checks that the network has its classes.
func (s *session) nllImages(c *train.Checkpoint, o *nllOptions) (*data.Dataset, error) {
	if c.Bare && o.dataDir == "" {
		return nil, cli.Errorf("%s holds bare weights, without a data set: name images by --data-dir", c.Path)
	}
	if o.dataDir == "" && c.Config.Eval.Dir == "" && c.Config.Eval.HoldOut == 0 {
		s.log.Warn("evaluating on the training images: their likelihood is better than that of new ones; name others by --data-dir")
	}
	set, err := evaluationSet(c, o.dataDir, o.split, 0) // all images: the fingerprint covers them
	if err != nil || !c.Config.Model.ClassCond {
		return set, err
	}
	if found, known := set.NumClasses(), c.Config.Model.NumClasses; found > known {
		err = fmt.Errorf("%s has %d classes, but the network only %d", set.Name(), found, known)
	}
	if err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return set, nil
}
