package train

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/distributed"
	"iddpm/runconfig"
	"iddpm/train/engine"
)

// engineOptions returns the options of the engine of a run, without its callbacks.
func engineOptions(c runconfig.Config, device gotorch.Device, group *distributed.Group) engine.Options {
	o := c.Train
	return engine.Options{
		Device: device, Group: group, Model: c.Model, Diffusion: c.Diffusion, Classifier: c.Classifier, CleanImages: o.CleanImages,
		BatchSize: o.BatchSize, Microbatch: o.Microbatch, LowerMicrobatch: o.MicrobatchAuto,
		LearningRate: o.LearningRate, WeightDecay: o.WeightDecay, GradClip: o.GradClip, EMARates: o.EMARates, EMAWarmup: o.EMAWarmup, PowerEMAs: o.PowerEMA,
		TimestepSampler: o.ScheduleSampler, GradientNoise: o.GradientNoise, Seed: o.Seed,
		Precision: o.Precision, LossScaleGrowth: o.FP16ScaleGrowth, Deterministic: o.Deterministic, NoCUDAGraphs: o.NoCUDAGraphs,
	}
}

// resolve checks that batches can be divided among the processes, and replaces "auto" settings
// by what suits the machine. A resumed run keeps its precision, since loss scale and rounding
// are part of its state.
func resolve(c *runconfig.Config, device gotorch.Device, group *distributed.Group, resumed bool, log *zap.Logger) (err error) {
	if err := c.Train.CheckParts(group.Size()); err != nil {
		return err
	}
	if c.Train.Precision, err = engine.ResolvePrecision(c.Train.Precision, device); err != nil {
		if resumed {
			return fmt.Errorf("%w in a new run that starts from these weights; to resume this one, use another GPU, or the CPU", err)
		}
		return err
	}
	return chooseMicrobatch(c, device, group, log)
}

// chooseMicrobatch chooses the largest microbatch that fits into the GPU's free memory, if
// the configuration says so and no earlier process has chosen one. On a CPU it is the whole
// local batch.
func chooseMicrobatch(c *runconfig.Config, device gotorch.Device, group *distributed.Group, log *zap.Logger) error {
	o := &c.Train
	if !o.MicrobatchAuto || o.Microbatch > 0 {
		return nil
	}
	local := o.BatchSize / group.Size()
	o.Microbatch = local
	if device.Type != gotorch.CUDA {
		return nil
	}
	options := engineOptions(*c, device, group)
	network, err := options.Plan()
	if err != nil {
		return err
	}
	var free int64
	if err := gotorch.Try(func() { free = gotorch.GetCUDAProperties(device).FreeMemory }); err != nil {
		return err
	}
	o.Microbatch = engine.LargestMicrobatch(network, options, local, free)
	log.Info("microbatch chosen", zap.Int("images", o.Microbatch), zap.Int64("free_bytes", free),
		zap.Int64("estimated_bytes", EstimateMemory(network, *c, local, o.Microbatch).Bytes()))
	return nil
}

// EstimateMemory is [engine.EstimateMemory] of a configuration: batch is the number of images
// per process, microbatch those of a backward pass.
func EstimateMemory(network engine.Network, c runconfig.Config, batch, microbatch int) engine.MemoryEstimate {
	return engine.EstimateMemory(network, engineOptions(c, gotorch.Device{}, nil), batch, microbatch)
}
