package engine

import (
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/model"
	"iddpm/train/posthoc"
)

// Options are what an engine is made from. The zero value of each field but Model, Diffusion
// and BatchSize works.
type Options struct {
	Device gotorch.Device
	Group  *distributed.Group // the data-parallel processes; nil: only this one

	Model     model.Config
	Diffusion diffusion.Config

	// Classifier, if not nil, is trained instead of a denoiser: on the images and classes that
	// Model describes, at x_t of Diffusion.
	Classifier  *model.ClassifierConfig
	CleanImages bool // train the classifier on images without noise, at t = 0

	BatchSize       int                    // images per step, over all processes
	Microbatch      int                    // gradient accumulation: images per backward pass; below 1: all of a process
	LowerMicrobatch bool                   // halve Microbatch when out of memory, in a single process
	LearningRate    func(step int) float64 // of the step after `step` finished ones; nil: 1e-4
	WeightDecay     float64                // decoupled
	GradClip        float64                // largest gradient norm; 0: no limit
	EMARates        []float64              // decay rates of the EMAs of the weights
	EMAWarmup       bool                   // limit the decay rates of the first steps, see [EMADecay]
	PowerEMAs       []float64              // lengths of power-function EMAs of the weights, see package posthoc
	TimestepSampler string                 // uniform or loss-second-moment; "": uniform
	GradientNoise   bool                   // measure the gradient noise scale, from microbatches
	Seed            uint64                 // of weights, timesteps, noise and dropout
	Attempt         int                    // rollbacks so far, each of which changes the seed
	Precision       string                 // auto, fp32, tf32, bf16 or fp16; "": auto
	LossScaleGrowth float64                // growth of log2(loss scale) per finite step
	Deterministic   bool                   // use deterministic algorithms on CUDA too
	NoCUDAGraphs    bool                   // run every step eagerly on a GPU

	OnCaptureFailed     func(error)           // CUDA graph capture failed: steps run eagerly; may be nil
	OnMicrobatchLowered func(before, now int) // out of memory: the step is repeated with smaller microbatches; may be nil
}

// LocalBatch returns the number of images of a batch in each process.
func (o Options) LocalBatch() int { return o.BatchSize / o.Group.Size() }

func (o Options) learningRate(step int) float64 {
	if o.LearningRate == nil {
		return 1e-4
	}
	return o.LearningRate(step)
}

// TimestepSamplers are the values of Options.TimestepSampler.
var TimestepSamplers = map[string]func(numTimesteps int) diffusion.TimestepSampler{
	"uniform":            func(n int) diffusion.TimestepSampler { return diffusion.NewUniform(n) },
	"loss-second-moment": func(n int) diffusion.TimestepSampler { return diffusion.NewLossSecondMoment(n) },
}

// resolve checks o, and replaces defaults by their values.
func (o Options) resolve() (Options, error) {
	if o.TimestepSampler == "" {
		o.TimestepSampler = "uniform"
	}
	if o.Microbatch < 1 {
		o.Microbatch = max(o.BatchSize, 1)
	}
	var errs []error
	if o.BatchSize < 1 || o.BatchSize%o.Group.Size() != 0 {
		errs = append(errs, fmt.Errorf("batch size %d is not a positive multiple of the %d processes", o.BatchSize, o.Group.Size()))
	}
	if TimestepSamplers[o.TimestepSampler] == nil {
		errs = append(errs, fmt.Errorf("timestep sampler %q is not one of uniform, loss-second-moment", o.TimestepSampler))
	}
	for _, length := range o.PowerEMAs {
		if _, err := posthoc.Gamma(length); err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	if o.Precision, err = ResolvePrecision(o.Precision, o.Device); err != nil {
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}
