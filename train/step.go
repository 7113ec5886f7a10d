package train

import (
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/streams"
)

// step runs one optimizer step on this rank's part of a batch. The host samples the timesteps
// of the global batch and copies this rank's to the device with the images. The rest runs on
// the device, on a GPU as a captured graph. The batch may be reused once step returns.
func (t *Trainer) step(batch data.Batch) (*stepResult, error) {
	r := &stepResult{layout: &t.work.layout}
	gotorch.Scope(func() {
		r.timesteps, r.weights = t.drawTimesteps(t.config.Train.BatchSize)
		mine, end := t.first(), t.first()+t.localBatch()
		t.work.write(batch, r.timesteps[mine:end], r.weights[mine:end])
	})
	t.phase.Store(computing)
	t.work.graph.Run()
	if t.phase.Load() == abandoned {
		return nil, ErrInterrupted
	}
	t.phase.Store(betweenSteps)
	r.packed = t.work.results.Clone() // the next step overwrites the original
	t.current++
	t.position = batch.Position + int64(len(r.timesteps))
	return r, t.observeLosses(r)
}

// announcedStep is step, which in cuDNN's benchmark mode logs the first step of a process:
// cuDNN times all its algorithms for each convolution, which may take minutes.
func (t *Trainer) announcedStep(batch data.Batch) (*stepResult, error) {
	if t.meter.rows > 0 || t.device.Type != gotorch.CUDA || t.config.Train.Deterministic {
		return t.step(batch)
	}
	t.log.Info("first step: cuDNN benchmarks its convolution algorithms, which may take a minute or more; later steps are faster")
	start := time.Now()
	r, err := t.step(batch)
	if err == nil {
		gotorch.CUDASynchronize(t.device)
		t.log.Info("first step done", zap.Float64("seconds", time.Since(start).Seconds()))
	}
	return r, err
}

// drawTimesteps samples t and its importance weight for each of n images. The random numbers
// depend only on (seed, step, index).
func (t *Trainer) drawTimesteps(n int) ([]int64, []float64) {
	key := gotorch.PhiloxKey{Seed: t.seed(), Stream: streams.Timesteps, Step: uint32(t.current)}
	u := gotorch.PhiloxUniform(gotorch.Device{}, gotorch.Double, key, int64(n))
	return t.sampler.Sample(u.Float64s())
}

// observeLosses updates a loss-aware timestep sampler with the step's losses, which waits
// for the device. Other samplers need no update.
func (t *Trainer) observeLosses(r *stepResult) error {
	if !t.sampler.LossAware() || r.values().nonFinite {
		return nil
	}
	return t.sampler.Update(r.timesteps, r.values().loss)
}
