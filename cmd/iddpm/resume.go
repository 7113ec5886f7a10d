package main

import (
	"errors"
	"os"
	"slices"

	urfave "github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"iddpm/internal/cli"
	"iddpm/internal/host"
	"iddpm/internal/runs"
	"iddpm/storage"
	"iddpm/train"
)

// changeable are the settings that may change when a run resumes.
var changeable = []string{"steps", "data-dir", "eval-data", "max-bad-images", "threads"}

// resumeOptions shows few flags in help, since a checkpoint holds its settings. The flags
// of train are accepted for improved-diffusion's checkpoints, which do not.
func resumeOptions(r *runOptions, config *train.Config) []cli.Option {
	options := append(append(r.sessionOptions.options(), r.uploadOptions()...), r.processesOption(), r.connectOption(), r.stepTimeoutOption(),
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
	defaults := train.Defaults()
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
	r, given := newRunOptions(), train.Config{}
	from, err := argument(c, "CKPT_OR_RUN_DIR")
	if err := errors.Join(err, cli.Apply(c, resumeOptions(r, &given))); err != nil {
		return err
	}
	return p.trainDistributed(c.Context, r, func(s *session) error { return s.resume(c, from, given, r) })
}

// resume resumes a run of iddpm or of improved-diffusion with the given flags.
func (s *session) resume(c *urfave.Context, from string, given train.Config, r *runOptions) error {
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

// resumePath returns the model file of improved-diffusion if path is its EMA file, and logs
// that.
func (s *session) resumePath(from string) (string, error) {
	if storage.IsURL(from) {
		return from, nil
	}
	if s.container {
		if mounted := host.MountedAtRoot(os.DirFS("/"), from); mounted != from {
			s.log.Info("resuming from the file mounted at the root, since the working folder has none of that name", zap.String("checkpoint", mounted))
			from = mounted
		}
	}
	path, err := train.ResumePath(from)
	if err == nil && path != from {
		s.log.Info("resuming from the model file of this EMA", zap.String("model", path), zap.String("ema", from))
	}
	return path, err
}

// changes returns a function that applies the changeable flags to a run, and logs the
// flags that differ from the run's settings without effect.
func (s *session) changes(c *urfave.Context, given train.Config) train.Change {
	return func(own *train.Config) error {
		if ignored := s.ignored(c, given, *own); len(ignored) > 0 {
			s.log.Warn("ignoring flags: the run keeps its own settings", zap.Strings("flags", ignored))
		}
		for _, o := range cli.ConfigOptions(own) {
			if !slices.Contains(changeable, o.Name) {
				continue
			}
			if err := cli.Apply(c, []cli.Option{o}); err != nil {
				return err
			}
		}
		if c.IsSet("threads") {
			own.Train.AdaptThreads = false // 0 chooses again
		}
		return nil
	}
}

// ignored returns the given flags whose values differ from the run's settings and cannot
// change them.
func (s *session) ignored(c *urfave.Context, given, own train.Config) (names []string) {
	// The run's settings are resolved.
	given.Anchor()
	given.Train.Precision = train.ResolvePrecision(given.Train.Precision, s.device)
	if given.Model.NumClasses == 0 {
		given.Model.NumClasses = own.Model.NumClasses
	}
	if c.IsSet("preset") && presetDiffers(c, own) {
		names = append(names, "--preset")
	}
	theirs := cli.ConfigOptions(&own)
	for i, o := range cli.ConfigOptions(&given) {
		if c.IsSet(o.Name) && !slices.Contains(changeable, o.Name) && cli.Format(o.Value) != cli.Format(theirs[i].Value) {
			names = append(names, "--"+o.Name)
		}
	}
	return names
}

// presetDiffers reports whether a preset describes another network or diffusion than the
// run's, in settings that no other flag sets.
func presetDiffers(c *urfave.Context, own train.Config) bool {
	preset, err := cli.BaseConfig(c.String("preset"))
	networkOf := func(config *train.Config) []cli.Option {
		return append(cli.ModelOptions(config), cli.DiffusionOptions(config)...)
	}
	theirs := networkOf(&own)
	for i, o := range networkOf(&preset) {
		if err == nil && !c.IsSet(o.Name) && cli.Format(o.Value) != cli.Format(theirs[i].Value) {
			return true
		}
	}
	return err != nil
}

// resumeReference resumes a run of improved-diffusion, in a new run folder.
func (s *session) resumeReference(c *urfave.Context, from string, config train.Config, folder *runs.Folder, name string) error {
	if c.String("preset") == "" && !cli.AnySet(c, cli.ModelOptions(&config)) && !cli.AnySet(c, cli.DiffusionOptions(&config)) {
		return cli.Errorf("%s holds only weights: describe their network by --preset or by the flags it was trained with", from)
	}
	from, err := folder.Remotes.Reference(c.Context, from)
	if err != nil {
		return err
	}
	return s.startRun(c.Context, folder, name, func(run train.Run) (*train.Trainer, error) { return train.ResumeReference(from, config, run) })
}
