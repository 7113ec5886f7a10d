package engine

import (
	"errors"
	"math"

	"github.com/wangkuiyi/gotorch"

	"iddpm/streams"
)

// ErrAbandoned says that a step was abandoned, and has not changed the state.
var ErrAbandoned = errors.New("the step was abandoned")

// minLog2LossScale is the minimum of log2 of the loss scale: below 0 it prevents no overflow.
// The reference has no minimum.
const minLog2LossScale = 0

// Step runs one optimizer step on this process's images of a batch. The host samples the
// timesteps of the global batch and copies this process's to the device with the images. The
// rest runs on the device, on a GPU as a captured graph, and Step does not wait for it except
// in float16, whose loss scale depends on the result, and for a loss-aware timestep sampler.
// The batch may be reused once Step returns.
//
// With LowerMicrobatch, a step that runs out of memory is repeated with smaller microbatches:
// the gradient is the global mean for any size, and the weights, which change last, are still
// unchanged.
func (e *Engine) Step(batch Batch) (r *Result, err error) {
	for {
		refused := gotorch.Try(func() { r, err = e.tryStep(batch) })
		if refused == nil {
			if err == nil && outOfMemory(e.CaptureErr()) { // all later steps would run eagerly
				e.lowerMicrobatch()
			}
			return r, err
		}
		if e.work.updates || !outOfMemory(refused) || !e.lowerMicrobatch() {
			return nil, refused
		}
	}
}

func (e *Engine) tryStep(batch Batch) (*Result, error) {
	r := &Result{layout: &e.work.layout}
	gotorch.Scope(func() {
		r.Timesteps, r.Weights = e.drawTimesteps(e.options.BatchSize)
		first, end := e.first(), e.first()+e.options.LocalBatch()
		batch.Labels = e.dropClasses(batch.Labels)
		e.work.write(e.step, batch, r.Timesteps[first:end], r.Weights[first:end])
	})
	e.phase.Store(computing)
	e.work.graph.Run()
	if e.phase.Load() == abandoned {
		return nil, ErrAbandoned
	}
	e.phase.Store(betweenSteps)
	r.packed = e.work.results.Clone() // the next step overwrites the original
	e.step++
	r.Step = e.step
	if e.precision.Dtype == gotorch.Half {
		e.Count(r)
	}
	return r, e.updateSampler(r)
}

// lowerMicrobatch halves the microbatch of the next steps and reports whether it could. Among
// several processes it cannot: the others wait within their steps.
func (e *Engine) lowerMicrobatch() bool {
	o := &e.options
	before := min(o.Microbatch, o.LocalBatch())
	if !o.LowerMicrobatch || before < 2 || o.Group.Size() > 1 {
		return false
	}
	o.Microbatch = partOf(before, 2)
	e.work.graph.Close()
	e.optimizer.ZeroGrad()
	if o.Device.Type == gotorch.CUDA {
		gotorch.EmptyCUDACache()
	}
	if o.OnMicrobatchLowered != nil {
		o.OnMicrobatchLowered(before, o.Microbatch)
	}
	return true
}

// drawTimesteps samples t and its importance weight for each of n images. The random numbers
// depend only on (seed, step, index).
func (e *Engine) drawTimesteps(n int) ([]int64, []float64) {
	key := gotorch.PhiloxKey{Seed: e.seed(), Stream: streams.Timesteps, Step: uint32(e.step)}
	u := gotorch.PhiloxUniform(gotorch.Device{}, gotorch.Double, key, int64(n))
	timesteps, weights := e.sampler.Sample(u.Float64s())
	if e.options.CleanImages {
		clear(timesteps)
	}
	return timesteps, weights
}

// updateSampler updates a loss-aware timestep sampler with the step's losses, which waits
// for the device. Other samplers need no update.
func (e *Engine) updateSampler(r *Result) error {
	if !e.sampler.LossAware() || r.Values().NonFinite {
		return nil
	}
	return e.sampler.Update(r.Timesteps, r.Values().Loss)
}

// SyncsEveryStep reports whether reading every step's result costs nothing, or must happen
// anyway. Otherwise the device skips non-finite steps by itself, and the host better reads
// the results of several steps at once.
func (e *Engine) SyncsEveryStep() bool {
	return e.options.Device.Type == gotorch.CPU || e.precision.Dtype == gotorch.Half || e.sampler.LossAware()
}

// Count counts a step as finite or skipped, and adjusts the loss scale: it grows a little, or
// is halved after an overflow. Each step counts once. Call it in the order of the steps; Step
// has already called it in float16. It waits for the device.
func (e *Engine) Count(r *Result) {
	if r.counted {
		return
	}
	r.counted = true
	e.health.count(r.Values().NonFinite, e.options.LossScaleGrowth)
}

func (h *Health) count(nonFinite bool, growth float64) {
	if !nonFinite {
		h.SkippedInARow = 0
		h.Log2LossScale += growth
		return
	}
	h.Skipped++
	h.SkippedInARow++
	h.Log2LossScale = math.Max(minLog2LossScale, h.Log2LossScale-1)
}

// Abandon makes the running step end without changing the state, and reports whether it could:
// not if there is none, or if it already updates the weights. It may be called from any
// goroutine, on a CPU: on a GPU a step is one CUDA graph, which updates the state in place.
// After it the engine can only be read and closed.
func (e *Engine) Abandon() bool { return e.phase.CompareAndSwap(computing, abandoned) }

// Abandoned reports whether a step was abandoned.
func (e *Engine) Abandoned() bool { return e.phase.Load() == abandoned }

// Updating reports whether a step is changing the state, or has failed while it did.
func (e *Engine) Updating() bool { return e.phase.Load() == updating }

// Retry starts another attempt after a rollback: with another seed, and no skipped steps in
// a row.
func (e *Engine) Retry(attempt int) { e.health.Attempt, e.health.SkippedInARow = attempt, 0 }
