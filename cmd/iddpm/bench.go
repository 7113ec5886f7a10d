package main

import (
	"context"
	"encoding/json"
	"errors"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/cli"
	"iddpm/train"
)

func (p *program) benchCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "bench",
		Usage:     "benchmark training, sampling and the data loader",
		UsageText: "iddpm bench train|sample|load|few-steps [FLAGS]",
		Description: `Times steps on random images and prints one line of JSON: the median step time after the warm-up and
the images per second. Or times the data loader on real images, or measures what samplers lose in few steps.
On a GPU the timed steps are the profiler's range: ncu --profile-from-start off, or
nsys profile --capture-range cudaProfilerApi, records only them.`,
		HideHelpCommand: true,
		Subcommands: []*urfave.Command{
			p.benchTrainCommand(),
			p.benchSampleCommand(),
			p.benchLoadCommand(),
			p.benchFewStepsCommand(),
		},
	}
}

func trainStep(b *train.Bench) error {
	_, err := b.Train()
	return err
}

func (p *program) benchTrainCommand() *urfave.Command {
	config := benchConfig()
	return &urfave.Command{
		Name:      "train",
		Usage:     "time optimizer steps: forward and backward pass, AdamW, EMA",
		UsageText: "iddpm bench train [FLAGS]",
		Description: `With --products each step is followed by its convolutions and matrix multiplications alone: plain
libtorch calls, forward and both gradients, on tensors of the same shapes, dtype and layout. The
share is their fraction of the step time; fused and folded operators in the step may bring it above
1. FLOPs are counted for the unfused network, as in iddpm info.

Examples:
  iddpm bench train --image-size 32 --num-channels 64 --num-res-blocks 1 --batch-size 8 --steps 10 --warmup 2 --precision bf16
  iddpm bench train --precision bf16 --products`,
		Flags:  cli.FlagsOf(append(timedOptions(&config), newBenchOptions().trainOptions()...)...),
		Action: p.benchTrain,
	}
}

func (p *program) benchSampleCommand() *urfave.Command {
	config := benchConfig()
	return &urfave.Command{
		Name:        "sample",
		Usage:       "time steps of the ancestral sampler",
		UsageText:   "iddpm bench sample [FLAGS]",
		Description: "Examples:\n  iddpm bench sample --image-size 32 --num-channels 64 --num-res-blocks 1 --batch-size 8 --steps 10 --warmup 2 --precision bf16",
		Flags:       cli.FlagsOf(append(timedOptions(&config), newBenchOptions().sampleOptions()...)...),
		Action:      p.benchSample,
	}
}

// benchResult has the fields that bench/compare.py reads for both iddpm and the
// reference.
type benchResult struct {
	What                  string  `json:"what"`
	Mode                  string  `json:"mode"` // the precision
	Device                string  `json:"device"`
	Torch                 string  `json:"torch"`
	Threads               int     `json:"threads"` // of each process, on an idle machine
	Processes             int     `json:"processes"`
	ImageSize             int     `json:"image_size"`
	NumChannels           int     `json:"num_channels"`
	NumResBlocks          int     `json:"num_res_blocks"`
	BatchSize             int     `json:"batch_size"`
	SecondsPerStep        float64 `json:"seconds_per_step"` // the median
	BestSeconds           float64 `json:"best_seconds"`
	FirstStepSeconds      float64 `json:"first_step_seconds"` // with cuDNN's benchmark mode on a GPU
	ImagesPerSecond       float64 `json:"images_per_second"`
	Parameters            int64   `json:"parameters"`
	PeakCUDABytes         *int64  `json:"peak_cuda_bytes"`          // null on the CPU
	PeakCUDAReservedBytes *int64  `json:"peak_cuda_reserved_bytes"` // reserved by the caching allocator; null on the CPU

	// Only for training.
	FLOPs          int64                `json:"flops_per_step,omitempty"` // of the convolutions and matrix multiplications
	FLOPsPerSecond float64              `json:"flops_per_second,omitempty"`
	Products       *benchProductsResult `json:"products,omitempty"`
}

// benchProductsResult times the convolutions and matrix multiplications of a step alone.
type benchProductsResult struct {
	SecondsPerStep float64 `json:"seconds_per_step"` // the median
	BestSeconds    float64 `json:"best_seconds"`
	FLOPsPerSecond float64 `json:"flops_per_second"`
	Share          float64 `json:"share"` // of the step's time
}

func (p *program) benchTrain(c *urfave.Context) error {
	o := newBenchOptions()
	return p.bench(c, o, o.trainOptions(), func(ctx context.Context, s *session, b *train.Bench) (result benchResult, err error) {
		kinds := []benchStep{trainStep}
		if o.products {
			kinds = append(kinds, (*train.Bench).Products)
		}
		seconds, first, err := s.time(ctx, b, o, kinds)
		if err != nil {
			return result, err
		}
		result = benchReport(b, s.device, seconds[0], first)
		result.What, result.FLOPs = "train", b.StepFLOPs()
		result.FLOPsPerSecond = float64(result.FLOPs) / result.SecondsPerStep
		if o.products {
			alone := median(seconds[1])
			result.Products = &benchProductsResult{alone, seconds[1][0], float64(result.FLOPs) / alone, alone / result.SecondsPerStep}
		}
		return result, nil
	})
}

func (p *program) benchSample(c *urfave.Context) error {
	o := newBenchOptions()
	return p.bench(c, o, o.sampleOptions(), func(ctx context.Context, s *session, b *train.Bench) (result benchResult, err error) {
		if o.guidance != 1 {
			if !b.Config().Model.HasNullClass() {
				return result, cli.Errorf("--guidance needs a network with a null class: add --class-cond --num-classes 10 --class-dropout 0.1")
			}
			b.Guide(o.guidance)
		}
		seconds, first, err := s.time(ctx, b, o, []benchStep{(*train.Bench).Sample})
		if err != nil {
			return result, err
		}
		result = benchReport(b, s.device, seconds[0], first)
		result.What = "sample"
		return result, nil
	})
}

// bench prints the result of measure for the run that the flags describe.
func (p *program) bench(c *urfave.Context, o *benchOptions, flags []cli.Option, measure func(context.Context, *session, *train.Bench) (benchResult, error)) error {
	config := benchConfig()
	if err := errors.Join(noArgument(c), cli.Apply(c, flags), cli.Configure(c, &config, timedOptions(&config))); err != nil {
		return err
	}
	if o.steps < 1 || o.warmup < 0 {
		return cli.Errorf("--steps must be above 0 and --warmup not below, but they are %d and %d", o.steps, o.warmup)
	}
	if o.products && o.processes != 1 {
		return cli.Errorf("--products runs in one process: omit --processes")
	}
	if err := config.Validate(); err != nil {
		return cli.Usage(err)
	}
	if o.processes > 1 {
		if err := config.Train.CheckParts(o.processes); err != nil {
			return cli.Usage(err)
		}
	}
	return p.distributedSession(c.Context, o.sessionOptions, func(s *session) error {
		if err := s.connectGPUs(); err != nil {
			return err
		}
		b, err := train.NewBench(config, s.device, s.group)
		if err != nil {
			return err
		}
		configure(func(o *gotorch.Settings) { *o = b.Settings() })
		b.AdaptThreads()
		result, err := measure(c.Context, s, b)
		if err == nil && s.device.Type == gotorch.CUDA {
			err = result.addPeaks(s.device)
		}
		result.Processes = s.group.Size()
		if err == nil && s.group.IsLeader() {
			err = json.NewEncoder(p.stdout).Encode(result)
		}
		return errors.Join(err, b.Close())
	})
}

// addPeaks adds the peak memory use of a GPU.
func (r *benchResult) addPeaks(d gotorch.Device) error {
	return gotorch.Try(func() {
		stats := gotorch.GetCUDAMemoryStats(d)
		r.PeakCUDABytes, r.PeakCUDAReservedBytes = &stats.PeakAllocated, &stats.PeakReserved
	})
}

func benchReport(b *train.Bench, device gotorch.Device, seconds []float64, first float64) benchResult {
	config := b.Config()
	return benchResult{
		Mode: config.Train.Precision, Device: device.String(), Torch: gotorch.Version, Threads: config.Train.Threads,
		ImageSize: config.Model.ImageSize, NumChannels: config.Model.NumChannels, NumResBlocks: config.Model.NumResBlocks,
		BatchSize: config.Train.BatchSize, SecondsPerStep: median(seconds), BestSeconds: seconds[0], FirstStepSeconds: first,
		ImagesPerSecond: float64(config.Train.BatchSize) / median(seconds), Parameters: b.Network().NumParameters(),
	}
}
