package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v2"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

func (p *program) nllCommand() *urfave.Command {
	config := runconfig.Defaults()
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
are not given default to the checkpoint's settings; bare weights of unpublished networks may need
--image-size, heads and diffusion flags, or a --preset.

Examples:
  iddpm nll runs/001-emoji
  iddpm nll runs/001-emoji --timestep-respacing 100 --num-samples 64
  iddpm nll runs/003-cifar10 --data-dir cifar-10-binary.tar.gz --split test --batch-size 128
  iddpm nll cifar10_uncond_50M_500K.pt --data-dir cifar_test`,
		Flags:           append(cli.FlagsOf(options...), cli.PositionalFlag(modelPath)),
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
	checkpoint, err := s.loadOnLeader(path, func(path string) (*checkpoint.Checkpoint, error) {
		return checkpointWithFlags(c, remotes, path, o.preset)
	})
	if err != nil {
		return err
	}
	files, err := s.nll(c.Context, checkpoint, o)
	return errors.Join(err, remotes.Publish(c.Context, path, files))
}

// nll evaluates the bound, prints it, and returns the files that this process wrote.
func (s *session) nll(ctx context.Context, checkpoint *checkpoint.Checkpoint, o *nllOptions) (files []string, err error) {
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
func (s *session) nllImages(c *checkpoint.Checkpoint, o *nllOptions) (*data.Dataset, error) {
	if (c.Bare || c.DataName == "" && c.Config.Data.Dir == "") && o.dataDir == "" {
		return nil, cli.Errorf("%s holds no data set: name images by --data-dir", c.Path)
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
