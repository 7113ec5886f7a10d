package engine

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
)

// Engine trains one network. All methods except Abandon must run on the tensor thread: see
// [gotorch.Run]. With several processes, all of them call the same methods in the same order.
type Engine struct {
	core
	work    *stepWork
	sampler diffusion.TimestepSampler
	step    int // optimizer steps so far
}

// New initialises the weights from the seed, and makes the optimizer and the EMA weights. It
// changes no process-wide setting: see [Engine.Settings].
func New(o Options) (*Engine, error) {
	o, err := o.resolve()
	if err != nil {
		return nil, err
	}
	health := InitialHealth()
	health.Attempt = o.Attempt
	e := &Engine{core: core{options: o, precision: Precisions[o.Precision], health: health}}
	if err := e.core.build(); err != nil {
		return nil, err
	}
	e.sampler = TimestepSamplers[o.TimestepSampler](e.diffusion.NumTimesteps())
	e.work = newStepWork(&e.core)
	e.syncWorkingWeights()
	return e, nil
}

// Options returns the options, with defaults replaced by their values and Microbatch as
// lowered.
func (e *Engine) Options() Options { return e.options }

// Settings returns the process-wide settings for [gotorch.Configure] with which the options
// are meant to be run: TF32 by the precision, and deterministic algorithms or else cuDNN's
// benchmark mode.
func (e *Engine) Settings() gotorch.Settings {
	deterministic := e.options.Deterministic
	return gotorch.Settings{Deterministic: deterministic, BenchmarkCUDNN: !deterministic, TF32: e.precision.TF32(e.options.Device)}
}

// Network returns the network, whose weights the next step changes.
func (e *Engine) Network() Network { return e.network }

// UNet returns the network; nil if it is a classifier.
func (e *Engine) UNet() *model.UNet {
	unet, _ := e.network.(*model.UNet)
	return unet
}

// Diffusion returns the diffusion process.
func (e *Engine) Diffusion() *diffusion.GaussianDiffusion { return e.diffusion }

// Dtype returns the dtype of the network's activations.
func (e *Engine) Dtype() gotorch.DType { return e.precision.Dtype }

// CurrentStep returns the number of optimizer steps so far.
func (e *Engine) CurrentStep() int { return e.step }

// Seed returns the seed of the current attempt.
func (e *Engine) Seed() uint64 { return e.seed() }

// Health returns the counts of non-finite steps and the loss scale.
func (e *Engine) Health() Health { return e.health }

// CaptureErr returns why the step could not be captured as a CUDA graph, or nil.
func (e *Engine) CaptureErr() error { return e.work.graph.Err() }

// NewGraph returns a graph of work, which a GPU captures unless CUDA graphs are disabled. The
// caller closes it.
func (e *Engine) NewGraph(work func()) *gotorch.Graph { return e.newGraph(work) }

// WrapStep replaces the device's part of a step by a call of wrap, which calls it: for tests
// and profilers.
func (e *Engine) WrapStep(wrap func(work func())) {
	e.work.graph.Close()
	e.work.graph = e.newGraph(func() { wrap(e.work.run) })
}

// Close frees the tensors.
func (e *Engine) Close() {
	e.work.free()
	e.core.free()
}
