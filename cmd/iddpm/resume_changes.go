package main

import (
	"os"
	"slices"

	urfave "github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/internal/host"
	"iddpm/runconfig"
	"iddpm/storage"
	"iddpm/train"
	"iddpm/train/engine"
)

// changeable are the settings that may change when a run resumes.
var changeable = []string{"steps", "data-dir", "eval-data", "eval-inception", "max-bad-images", "threads", "sample-interval", "sample-images", "sample-respacing"}

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
	path, err := checkpoint.ResumePath(from)
	if err == nil && path != from {
		s.log.Info("resuming from the model file of this EMA", zap.String("model", path), zap.String("ema", from))
	}
	return path, err
}

// changes returns a function that applies the changeable flags to a run, and logs the
// flags that differ from the run's settings without effect.
func (s *session) changes(c *urfave.Context, given runconfig.Config) train.Change {
	return func(own *runconfig.Config) error {
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
func (s *session) ignored(c *urfave.Context, given, own runconfig.Config) (names []string) {
	// The run's settings are resolved.
	given.Anchor()
	given.Train.Precision = engine.AutomaticPrecision(given.Train.Precision, s.device)
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
func presetDiffers(c *urfave.Context, own runconfig.Config) bool {
	preset, err := cli.BaseConfig(c.String("preset"))
	if err != nil {
		return true
	}
	networkOf := func(config *runconfig.Config) []cli.Option {
		return append(cli.ModelOptions(config), cli.DiffusionOptions(config)...)
	}
	theirs := networkOf(&own)
	for i, o := range networkOf(&preset) {
		if !c.IsSet(o.Name) && cli.Format(o.Value) != cli.Format(theirs[i].Value) {
			return true
		}
	}
	return false
}
