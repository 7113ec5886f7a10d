package main

import (
	"cmp"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// config returns the configuration that the flags describe, and a name for it.
func (s *session) config(c *urfave.Context, r *runOptions) (runconfig.Config, string, error) {
	config, name, err := s.startingConfig(c, r.preset)
	if err != nil {
		return config, "", err
	}
	if err := cli.Configure(c, &config, cli.ConfigOptions(&config)); err != nil {
		return config, "", err
	}
	r.classifier.configure(c, &config)
	if !c.IsSet("sample-interval") {
		s.defaultSampleInterval(&config)
	}
	if r.reference.useFP16 && !c.IsSet("precision") {
		config.Train.Precision = "fp16"
	}
	if err := checkThreads(config.Train.Threads); err != nil {
		return config, "", err
	}
	if err := inferClasses(&config); err != nil {
		return config, "", err
	}
	if config.Data.Dir != "" && (r.preset == "" || strings.HasPrefix(r.preset, "emoji")) { // a preset of the built-in emoji does not name these images
		name = dataName(config.Data.Dir, name)
	}
	r.classifier.fit(&config)
	if config.Classifier != nil && r.preset == "" {
		name = "classifier"
	}
	if err := config.Validate(); err != nil {
		return config, "", cli.Usage(err)
	}
	if config.Eval.SampleMetric() != "" && config.Eval.Inception == "" { // a missing network is an error now, not at the first evaluation
		if _, err := s.trainingInception(c.Context); err != nil {
			return config, "", err
		}
	}
	return config, name, nil
}

// defaultSampleInterval chooses the interval of sample grids where no flag does: automatic on a
// terminal, and none for a classifier, whatever the preset says.
func (s *session) defaultSampleInterval(config *runconfig.Config) {
	switch {
	case config.Classifier != nil:
		config.Samples.Interval = 0
	case s.screen.Terminal() && !config.Model.SuperRes():
		config.Samples.Interval = runconfig.AutoInterval
	}
}

// startingConfig returns the configuration before flags, and its name: a preset's, or
// improved-diffusion's defaults if a flag describes the network or the diffusion.
func (s *session) startingConfig(c *urfave.Context, preset string) (runconfig.Config, string, error) {
	if preset == "" && describesNetwork(c) {
		return runconfig.Defaults(), "custom", nil
	}
	name := cmp.Or(preset, s.defaultPreset())
	config, err := cli.BaseConfig(name)
	return config, name, err
}

// logStart says where the configuration of a new run without --preset starts.
func (s *session) logStart(c *urfave.Context, preset string) {
	switch {
	case preset != "":
	case describesNetwork(c):
		s.log.Info("flags describe the network or the diffusion: the other settings are improved-diffusion's defaults",
			zap.String("hint", "--preset emoji, or another, has settings of its own, to which flags add"))
	default:
		s.log.Info("neither --preset nor network flags: using the default preset of the device", zap.String("preset", s.defaultPreset()))
	}
}

// describesNetwork reports whether a flag describes the network or the diffusion.
func describesNetwork(c *urfave.Context) bool {
	config := runconfig.Defaults()
	return cli.AnySet(c, cli.ModelOptions(&config)) || cli.AnySet(c, cli.DiffusionOptions(&config))
}

// defaultPreset returns the preset for the device.
func (s *session) defaultPreset() string {
	if s.device.Type == gotorch.CUDA {
		return "emoji-gpu"
	}
	return "emoji"
}

// notInName are characters that a run folder's name does not have.
var notInName = regexp.MustCompile(`[^\p{L}\p{N}_.-]+`)

// dataName returns the name of a data set, for a run folder, or other if its path has none.
func dataName(dir, other string) string {
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	name, _, _ := strings.Cut(strings.TrimLeft(filepath.Base(dir), "."), ".")
	letters := []rune(strings.Trim(notInName.ReplaceAllString(name, "-"), "-"))
	return cmp.Or(string(letters[:min(len(letters), 40)]), other)
}

// checkThreads rejects more than four threads per core, with which a step takes forever.
// It is not part of the configuration's check: a checkpoint may come from a larger machine.
func checkThreads(n int) error {
	if cores := runtime.NumCPU(); n < 0 || n > 4*cores {
		return cli.Errorf("--threads must be from 0, one per core, to %d, not %d: this machine has %d cores", 4*cores, n, cores)
	}
	return nil
}

// inferClasses sets the number of classes to that of the images, if it is not set.
func inferClasses(config *runconfig.Config) error {
	if !config.Model.ClassCond || config.Model.NumClasses != 0 {
		return nil
	}
	images, err := data.Open(config.Data.Dir, config.DataOptions())
	if err != nil {
		return err
	}
	config.Model.NumClasses = images.NumClasses()
	return images.Close()
}
