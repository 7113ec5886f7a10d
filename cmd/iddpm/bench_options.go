package main

import (
	"slices"

	"iddpm/diffusion"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// benchOptions are the flags of bench, in addition to those of a configuration.
type benchOptions struct {
	sessionOptions // device and processes
	steps          int
	warmup         int
	products       bool // also time the convolutions and matrix multiplications of a training step alone
	guidance       float64
}

// benchConfig is the default configuration: a network small enough for a few CPU cores.
func benchConfig() runconfig.Config {
	c := runconfig.Defaults()
	c.Model.ImageSize, c.Model.NumChannels, c.Model.NumResBlocks = 32, 64, 1
	c.Model.LearnSigma, c.Diffusion.LearnSigma = true, true
	c.Diffusion.Steps, c.Diffusion.NoiseSchedule = 4000, diffusion.Cosine
	c.Train.BatchSize, c.Train.Precision = 8, "fp32"
	return c
}

func (o *benchOptions) options() []cli.Option {
	return []cli.Option{
		{Name: "device", Category: cli.CategoryRun, Value: &o.device, Usage: "run on `DEVICE`: cpu, cuda or cuda:N"},
		{Name: "steps", Category: cli.CategoryRun, Value: &o.steps, Usage: "time `N` steps"},
		{Name: "warmup", Category: cli.CategoryRun, Value: &o.warmup, Usage: "`N` warm-up steps before the timed ones"},
		cli.ConfigOption(),
	}
}

func (o *benchOptions) trainOptions() []cli.Option {
	return append(o.options(), o.processesOption(), cli.Option{Name: "products", Category: cli.CategoryRun, Value: &o.products, Usage: "also time the step's convolutions and matrix multiplications (GEMMs) alone"})
}

func (o *benchOptions) sampleOptions() []cli.Option {
	return append(o.options(), cli.Option{Name: "guidance", Category: cli.CategorySampling, Value: &o.guidance,
		Usage: "time steps with classifier-free guidance of scale `W` (1: none), which needs --class-cond, --num-classes and --class-dropout"})
}

// timedOptions are the flags of a configuration that bench uses: all of the network
// and its diffusion, and those that are marked.
func timedOptions(c *runconfig.Config) []cli.Option {
	unmarked := func(o cli.Option) bool { return !o.Timed }
	return slices.Concat(
		slices.DeleteFunc(cli.DataOptions(c), unmarked), cli.ModelOptions(c), cli.DiffusionOptions(c),
		slices.DeleteFunc(cli.TrainingOptions(c), unmarked),
	)
}

func newBenchOptions() *benchOptions {
	o := &benchOptions{sessionOptions: defaultSession(), steps: 8, warmup: 2, guidance: 1}
	o.device = "cpu"
	return o
}
