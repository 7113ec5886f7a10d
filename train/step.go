package train

import (
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/streams"
)

// step takes one optimizer step on this process's share of a batch: the host draws
// the whole batch's timesteps and sends over its own with the images; all else is
// the device's work, recorded on a GPU.
// The batch may be used again once it returns.
func (t *Trainer) step(batch data.Batch) (*stepResult, error) {
	r := &stepResult{layout: &t.work.layout}
	gotorch.Scope(func() {
		r.timesteps, r.weights = t.drawTimesteps(t.config.Train.BatchSize)
		mine, end := t.first(), t.first()+t.share()
		t.work.write(batch, r.timesteps[mine:end], r.weights[mine:end])
	})
	t.phase.Store(computing)
	t.work.graph.Run()
	if t.phase.Load() == abandoned {
		return nil, ErrInterrupted
	}
	t.phase.Store(betweenSteps)
	r.packed = t.work.results.Clone() // the next step overwrites them
	t.current++
	t.position = batch.Position + int64(len(r.timesteps))
	return r, t.observeLosses(r)
}

// announcedStep is step. In cuDNN's benchmark mode the first one of a process is announced and
// timed: cuDNN builds every plan that it has for each convolution, which may take minutes.
func (t *Trainer) announcedStep(batch data.Batch) (*stepResult, error) {
	if t.meter.lines > 0 || t.device.Type != gotorch.CUDA || t.config.Train.Deterministic {
		return t.step(batch)
	}
	t.log.Info("first step: cuDNN benchmarks its convolution algorithms, which may take a minute or more; later steps do not wait for that")
	start := time.Now()
	r, err := t.step(batch)
	if err == nil {
		gotorch.CUDASynchronize(t.device)
		t.log.Info("first step done", zap.Float64("seconds", time.Since(start).Seconds()))
	}
	return r, err
}

// drawTimesteps draws t and its importance weight for each of n samples from
// (seed, step, index) alone.
func (t *Trainer) drawTimesteps(n int) ([]int64, []float64) {
	key := gotorch.PhiloxKey{Seed: t.seed(), Stream: streams.Timesteps, Step: uint32(t.current)}
	u := gotorch.PhiloxUniform(gotorch.Device{}, gotorch.Double, key, int64(n))
	return t.sampler.Sample(u.Float64s())
}

// observeLosses lets a loss-aware timestep sampler learn from this step. Only
// that sampler waits for the device here.
func (t *Trainer) observeLosses(r *stepResult) error {
	if !t.sampler.LossAware() || r.values().nonFinite {
		return nil
	}
	return t.sampler.Update(r.timesteps, r.values().loss)
}
