package main

import (
	"errors"

	"github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"iddpm/train"
)

// resumeOptions are few, since a checkpoint knows its settings. Those of train
// are for the reference's files, which do not; help leaves them to train.
func resumeOptions(r *runOptions, config *train.Config) []option {
	options := append(append(r.sessionOptions.options(), r.uploadOptions()...),
		option{name: "run-dir", category: categoryRun, value: &r.dir, standard: "the run's own", usage: "go on in `DIR`, or behind an s3://, gs:// or file:// URL"},
	)
	for _, o := range append(configOptions(config), presetOption(&r.preset), configOption()) {
		if o.hidden = o.name != "steps"; !o.hidden {
			o.standard = "as before"
		}
		options = append(options, o)
	}
	return options
}

func (p *program) resumeCommand() *cli.Command {
	defaults := train.Defaults()
	return &cli.Command{
		Name:      "resume",
		Usage:     "go on with a run",
		UsageText: "iddpm resume CKPT_OR_RUN_DIR [FLAGS]",
		Description: `Goes on exactly where a checkpoint stood: settings, weights, optimizer, averages and the place in
the data are in it. Of a run folder the newest readable checkpoint counts; a run that was stopped
before its first begins again. Of improved-diffusion's model010000.pt the flags of train, or a
--preset, must say what it belongs to; its ema and opt files are found beside it.

Examples:
  iddpm resume runs/001-emoji
  iddpm resume runs/001-emoji --steps 10000
  iddpm resume s3://bucket/runs/one
  iddpm resume runs/001-emoji/checkpoints/ckpt-000500.pt --run-dir runs/from-500
  iddpm resume theirs/model010000.pt --preset cifar10 --data-dir cifar_train`,
		Flags:           flagsOf(resumeOptions(newRunOptions(), &defaults)...),
		HideHelpCommand: true,
		Action:          p.resume,
	}
}

func (p *program) resume(c *cli.Context) error {
	r, given := newRunOptions(), train.Config{}
	from, err := argument(c, "CKPT_OR_RUN_DIR")
	if err := errors.Join(err, apply(c, resumeOptions(r, &given))); err != nil {
		return err
	}
	s, err := p.open(r.sessionOptions)
	if err != nil {
		return err
	}
	if isReference(from) {
		config, name, err := s.config(c, r)
		if err != nil {
			return err
		}
		return s.adopt(c, from, config, r, name)
	}
	if settings := givenSettings(c); len(settings) > 0 {
		s.log.Warn("the run's own settings count: these change nothing", zap.Strings("flags", settings))
	}
	return s.resume(c.Context, from, r, given.Train.Steps)
}

// givenSettings names the flags that a run with settings of its own has no use
// for.
func givenSettings(c *cli.Context) (names []string) {
	for _, o := range append(configOptions(new(train.Config)), presetOption(new(string))) {
		if o.name != "steps" && c.IsSet(o.name) {
			names = append(names, "--"+o.name)
		}
	}
	return names
}

// adopt goes on with a run of the reference, in a folder of its own.
func (s *session) adopt(c *cli.Context, from string, config train.Config, r *runOptions, name string) error {
	if r.preset == "" && !anySet(c, modelOptions(&config)) && !anySet(c, diffusionOptions(&config)) {
		return wrongUse("%s holds weights alone: say by --preset, or by the flags it was trained with, what they belong to", from)
	}
	from, err := s.remotes(r.remoteOptions).reference(c.Context, from)
	if err != nil {
		return err
	}
	return s.fresh(c.Context, r, name, func(run train.Run) (*train.Trainer, error) { return train.ResumeReference(from, config, run) })
}
