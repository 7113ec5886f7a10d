package main

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/train"
)

// benchOptions are the flags of bench beside those of a configuration.
type benchOptions struct {
	device string
	steps  int
	warmup int
}

// benchConfig is what is timed if no flag says otherwise: bench/peer.py's
// defaults.
func benchConfig() train.Config {
	c := train.Defaults()
	c.Model.ImageSize, c.Model.NumChannels, c.Model.NumResBlocks = 32, 64, 1
	c.Model.LearnSigma, c.Diffusion.LearnSigma = true, true
	c.Diffusion.Steps, c.Diffusion.NoiseSchedule = 4000, diffusion.Cosine
	c.Train.BatchSize, c.Train.Precision = 8, "fp32"
	return c
}

func (o *benchOptions) options() []option {
	return []option{
		{name: "device", category: categoryRun, value: &o.device, usage: "work on `DEVICE`: cpu, cuda or cuda:N"},
		{name: "steps", category: categoryRun, value: &o.steps, usage: "time `N` steps"},
		{name: "warmup", category: categoryRun, value: &o.warmup, usage: "take `N` steps first"},
		configOption(),
	}
}

// timedOptions are the flags of a configuration that change the time of a step.
func timedOptions(c *train.Config) []option {
	var options []option
	for _, o := range configOptions(c) {
		switch o.name {
		case "data-dir", "labels", "random-flip", "random-crop", "exif-orientation", "jpeg-decoder", "background", "max-bad-images", "cache", "gradient-noise", "eval-interval", "eval-data", "eval-pictures", "eval-respacing", "hold-out", "steps", "log-interval", "save-interval", "init-from", "reinit-mismatched", "lr-anneal-steps", "warmup-steps":
		default:
			options = append(options, o)
		}
	}
	return options
}

func newBenchOptions() *benchOptions { return &benchOptions{device: "cpu", steps: 8, warmup: 2} }

func (p *program) benchCommand() *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "time training, sampling and loading",
		UsageText: "iddpm bench train|sample|load [FLAGS]",
		Description: `Times steps on made-up pictures and prints one line of JSON: the median of the steps after the
warm-up, and what it means in pictures per second. Or times the loader on real ones.`,
		HideHelpCommand: true,
		Subcommands: []*cli.Command{
			p.benchSubcommand("train", "time optimizer steps: forward, backward, AdamW, averages", trainStep),
			p.benchSubcommand("sample", "time steps of the ancestral sampler", (*train.Bench).Sample),
			p.benchLoadCommand(),
		},
	}
}

// benchStep is what is timed.
type benchStep func(*train.Bench) error

func trainStep(b *train.Bench) error {
	_, err := b.Train()
	return err
}

func (p *program) benchSubcommand(what, usage string, step benchStep) *cli.Command {
	config := benchConfig()
	return &cli.Command{
		Name:        what,
		Usage:       usage,
		UsageText:   "iddpm bench " + what + " [FLAGS]",
		Description: "Examples:\n  iddpm bench " + what + " --image-size 32 --num-channels 64 --num-res-blocks 1 --batch-size 8 --steps 10 --warmup 2 --precision bf16",
		Flags:       flagsOf(append(timedOptions(&config), newBenchOptions().options()...)...),
		Action:      func(c *cli.Context) error { return p.bench(c, what, step) },
	}
}

// benchResult has the fields of bench/peer.py.
type benchResult struct {
	What            string  `json:"what"`
	Mode            string  `json:"mode"` // the precision
	Device          string  `json:"device"`
	Torch           string  `json:"torch"`
	Threads         int     `json:"threads"`
	ImageSize       int     `json:"image_size"`
	NumChannels     int     `json:"num_channels"`
	NumResBlocks    int     `json:"num_res_blocks"`
	BatchSize       int     `json:"batch_size"`
	SecondsPerStep  float64 `json:"seconds_per_step"` // the median
	BestSeconds     float64 `json:"best_seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
	Parameters      int64   `json:"parameters"`
	PeakCUDABytes   *int64  `json:"peak_cuda_bytes"` // null on the CPU
}

func (p *program) bench(c *cli.Context, what string, step benchStep) error {
	o, config := newBenchOptions(), benchConfig()
	if err := errors.Join(noArgument(c), apply(c, o.options()), configure(c, &config, timedOptions(&config))); err != nil {
		return err
	}
	if o.steps < 1 || o.warmup < 0 {
		return wrongUse("steps must be above 0 and warmup not below, but they are %d and %d", o.steps, o.warmup)
	}
	if err := config.Validate(); err != nil {
		return usageError{err}
	}
	s, err := p.open(sessionOptions{device: o.device})
	if err != nil {
		return err
	}
	b, err := train.NewBench(config, s.device)
	if err != nil {
		return err
	}
	result, err := s.time(b, o, step)
	if err == nil {
		result.What = what
		err = json.NewEncoder(p.stdout).Encode(result)
	}
	return errors.Join(err, b.Close())
}

// time times steps, and asks how much memory they took.
func (s *session) time(b *train.Bench, o *benchOptions, step benchStep) (result benchResult, err error) {
	wait := func() error { return nil }
	if s.device.Type == gotorch.CUDA {
		wait = func() error { return gotorch.Try(func() { gotorch.CUDASynchronize(s.device) }) }
	}
	seconds, err := timeSteps(b, o, step, wait)
	if err != nil {
		return result, err
	}
	result = benchReport(b, s.device, seconds)
	if s.device.Type == gotorch.CUDA {
		err = gotorch.Try(func() {
			peak := gotorch.GetCUDAMemoryStats(s.device).PeakAllocated
			result.PeakCUDABytes = &peak
		})
	}
	return result, err
}

// timeSteps returns the seconds that each step after the warm-up took, in rising
// order; wait returns when the device is done.
func timeSteps(b *train.Bench, o *benchOptions, step benchStep, wait func() error) ([]float64, error) {
	var seconds []float64
	for i := range o.warmup + o.steps {
		start := time.Now()
		if err := step(b); err != nil {
			return nil, err
		}
		if err := wait(); err != nil {
			return nil, err
		}
		if i >= o.warmup {
			seconds = append(seconds, time.Since(start).Seconds())
		}
	}
	slices.Sort(seconds)
	return seconds, nil
}

func benchReport(b *train.Bench, device gotorch.Device, seconds []float64) benchResult {
	config := b.Config()
	median := seconds[len(seconds)/2]
	return benchResult{
		Mode: config.Train.Precision, Device: device.String(), Torch: gotorch.Version, Threads: config.Train.Threads,
		ImageSize: config.Model.ImageSize, NumChannels: config.Model.NumChannels, NumResBlocks: config.Model.NumResBlocks,
		BatchSize: config.Train.BatchSize, SecondsPerStep: median, BestSeconds: seconds[0],
		ImagesPerSecond: float64(config.Train.BatchSize) / median, Parameters: b.Network().NumParameters(),
	}
}
