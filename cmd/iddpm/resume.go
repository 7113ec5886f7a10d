package main

import (
	"errors"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"iddpm/internal/cli"
	"iddpm/internal/runs"
	"iddpm/runconfig"
)

// resumeOptions shows few flags in help, since a checkpoint holds its settings. The flags
// of train are accepted for improved-diffusion's checkpoints, which do not.
func resumeOptions(r *runOptions, config *runconfig.Config) []cli.Option {
	options := append(slices.Concat(r.sessionOptions.options(), r.uploadOptions(), r.servers.options()), r.processesOption(), r.connectOption(), r.stepTimeoutOption(),
		cli.Option{Name: "run-dir", Path: true, Category: cli.CategoryRun, Value: &r.dir, Standard: "the run's own", Usage: "continue in `DIR`, or at an s3://, gs:// or file:// URL"},
	)
	for _, o := range append(cli.ConfigOptions(config), cli.PresetOption(&r.preset), cli.ConfigOption()) {
		if o.Hidden = !slices.Contains(changeable, o.Name); !o.Hidden {
			o.Standard = "as before"
		}
		options = append(options, o)
	}
	return options
}

func (p *program) resumeCommand() *urfave.Command {
	defaults := runconfig.Defaults()
	return &urfave.Command{
		Name:      "resume",
		Usage:     "resume a run from a checkpoint",
		UsageText: "iddpm resume CKPT_OR_RUN_DIR [FLAGS]",
		Description: `Resumes training exactly from a checkpoint, which holds the settings, weights, optimizer state, EMA
and position in the data. Given a run folder, it uses the newest readable checkpoint; a run that
stopped before its first checkpoint restarts. For improved-diffusion's model010000.pt, pass the
flags of train or a --preset; its ema and opt files are found in the same folder.

Examples:
  iddpm resume runs/001-emoji
  iddpm resume runs/001-emoji --steps 10000
  iddpm resume runs/003-photos --data-dir /mnt/photos
  iddpm resume s3://bucket/runs/one
  iddpm resume runs/001-emoji/checkpoints/ckpt-000500.pt --run-dir runs/from-500
  iddpm resume theirs/model010000.pt --preset cifar10 --data-dir cifar_train`,
		Flags:           cli.FlagsOf(resumeOptions(newRunOptions(), &defaults)...),
		HideHelpCommand: true,
		Action:          p.resume,
	}
}

func (p *program) resume(c *urfave.Context) error {
	r, given := newRunOptions(), runconfig.Config{}
	from, err := argument(c, "CKPT_OR_RUN_DIR")
	if err := errors.Join(err, cli.Apply(c, resumeOptions(r, &given))); err != nil {
		return err
	}
	return p.trainDistributed(c.Context, r, func(s *session) error { return s.resume(c, from, given, r) })
}

// resume resumes a run of iddpm or of improved-diffusion with the given flags.
func (s *session) resume(c *urfave.Context, from string, given runconfig.Config, r *runOptions) error {
	from, err := s.resumePath(from)
	if err != nil {
		return err
	}
	if runs.IsReference(from) {
		config, name, err := s.config(c, r)
		if err != nil {
			return err
		}
		folder, err := s.openRunFolder(c.Context, r, from)
		if err != nil {
			return err
		}
		s.logStart(c, r.preset)
		return s.resumeReference(c, from, config, folder, name)
	}
	if err := checkThreads(given.Train.Threads); err != nil {
		return err
	}
	if c.IsSet("steps") && given.Train.Steps < 1 {
		return cli.Errorf("--steps must be above 0, not %d: it is the step at which the run ends", given.Train.Steps)
	}
	folder, err := s.openRunFolder(c.Context, r, from)
	if err != nil {
		return err
	}
	return s.resumeRun(c.Context, from, folder, s.changes(c, given))
}
