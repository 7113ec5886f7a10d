package main

import (
	"errors"

	urfave "github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"iddpm/internal/cli"
	"iddpm/internal/runs"
	"iddpm/runconfig"
	"iddpm/train"
)

func (p *program) trainCommand() *urfave.Command {
	config := runconfig.Defaults()
	return &urfave.Command{
		Name:      "train",
		Usage:     "train a diffusion model",
		UsageText: "iddpm train [FLAGS]",
		Description: `Trains a diffusion model on the images in --data-dir, or on the built-in emoji, and writes
checkpoints and metrics to a run folder. Without --preset and without any model or diffusion
flag, the settings are those of the preset emoji (emoji-gpu on a GPU); otherwise the defaults
below are the reference's. Ctrl-C saves a checkpoint and stops; "iddpm resume RUN_DIR" continues.

Examples:
  iddpm train
  iddpm train --data-dir photos --steps 5000
  iddpm train --preset cifar10 --data-dir cifar_train --microbatch 32
  iddpm train --run-dir s3://bucket/runs/one --auto-resume
  iddpm train --processes 8 --data-dir photos
  torchrun --no-python --nproc-per-node 8 iddpm train --run-dir runs/one --data-dir photos
  iddpm train --data_dir photos --image_size 64 --num_channels 128 --num_res_blocks 3 \
    --learn_sigma True --diffusion_steps 4000 --noise_schedule cosine --lr 1e-4 --batch_size 128`,
		Flags:           cli.FlagsOf(append(cli.ConfigOptions(&config), newRunOptions().options()...)...),
		HideHelpCommand: true,
		Action:          p.train,
	}
}

func (p *program) train(c *urfave.Context) error {
	r := newRunOptions()
	if err := errors.Join(noArgument(c), cli.Apply(c, r.options())); err != nil {
		return err
	}
	if r.autoResume && r.dir == "" {
		return cli.Errorf("--auto-resume needs --run-dir: without it every run gets a new folder")
	}
	return p.trainDistributed(c.Context, r, func(s *session) error { return s.train(c, r) })
}

func (s *session) train(c *urfave.Context, r *runOptions) error {
	config, name, err := s.config(c, r)
	if err != nil {
		return err
	}
	from, err := s.resumePath(r.reference.resume)
	if err != nil {
		return err
	}
	folder, err := s.openRunFolder(c.Context, r, from)
	if err != nil {
		return err
	}
	if r.autoResume && folder.HoldsRun() { // even with --resume-checkpoint
		from = r.dir
	}
	if from != "" && !runs.IsReference(from) {
		s.log.Info("resuming a run", zap.String("run", from))
		return s.resumeRun(c.Context, from, folder, s.changes(c, config))
	}
	s.logStart(c, r.preset)
	if from != "" {
		return s.resumeReference(c, from, config, folder, name)
	}
	if err := config.Train.CheckParts(s.group.Size()); err != nil {
		return cli.Usage(err)
	}
	if config.Data.Dir == "" {
		s.log.Info("no --data-dir: training on the built-in emoji")
	}
	return s.startRun(c.Context, folder, name, func(run train.Run) (*train.Trainer, error) { return train.New(config, run) })
}
