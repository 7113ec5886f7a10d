package train

import (
	"errors"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/model"
)

// memoryMargin is the assumed ratio of a process's GPU memory to its tensors: for the
// allocator's fragmentation and for convolution workspaces.
const memoryMargin = 1.2

// chooseMicrobatch chooses the largest microbatch that fits into the GPU's free memory, if
// the configuration says so and no earlier process has chosen one. On a CPU it is the whole
// local batch.
func (t *Trainer) chooseMicrobatch() error {
	o := &t.config.Train
	if !o.MicrobatchAuto || o.Microbatch > 0 {
		return nil
	}
	o.Microbatch = t.localBatch()
	if t.device.Type != gotorch.CUDA {
		return nil
	}
	u, err := t.config.Model.UNet()
	if err != nil {
		return err
	}
	network, err := model.Plan(u)
	if err != nil {
		return err
	}
	var free int64
	if err := gotorch.Try(func() { free = gotorch.GetCUDAProperties(t.device).FreeMemory }); err != nil {
		return err
	}
	o.Microbatch = largestMicrobatch(network, t.config, t.localBatch(), free)
	t.log.Info("microbatch chosen", zap.Int("images", o.Microbatch), zap.Int64("free_bytes", free),
		zap.Int64("estimated_bytes", EstimateMemory(network, t.config, t.localBatch(), o.Microbatch).Bytes()))
	return nil
}

// largestMicrobatch divides `batch` images into nearly equal microbatches, as few as fit into
// the free bytes, and returns the size of the largest, at least 1.
func largestMicrobatch(network *model.UNet, c Config, batch int, free int64) int {
	for parts := 1; parts < batch; parts++ {
		n := partOf(batch, parts)
		if memoryMargin*float64(EstimateMemory(network, c, batch, n).Bytes()) <= float64(free) {
			return n
		}
	}
	return 1
}

// partOf returns the size of the largest of nearly equal parts.
func partOf(n, parts int) int { return (n + parts - 1) / parts }

// stepThatFits is announcedStep. With an automatic microbatch, a step that runs out of memory
// is repeated with smaller microbatches: the gradient is the global mean for any size, and the
// weights, which change last, are still unchanged.
func (t *Trainer) stepThatFits(batch data.Batch) (r *stepResult, err error) {
	for {
		refused := gotorch.Try(func() { r, err = t.announcedStep(batch) })
		if refused == nil {
			if err == nil && outOfMemory(t.work.graph.Err()) { // capture failed: all later steps would run eagerly
				t.lowerMicrobatch()
			}
			return r, err
		}
		if t.work.updates || !outOfMemory(refused) || !t.lowerMicrobatch() {
			return nil, refused
		}
	}
}

func outOfMemory(err error) bool {
	var refused *gotorch.Error
	return errors.As(err, &refused) && refused.OutOfMemory
}

// lowerMicrobatch halves the microbatch of the next steps and reports whether it could. Among
// several processes it cannot: the others wait within their steps.
func (t *Trainer) lowerMicrobatch() bool {
	o := &t.config.Train
	before := min(o.microbatch(), t.localBatch())
	if !o.MicrobatchAuto || before < 2 || t.group.Size() > 1 {
		return false
	}
	o.Microbatch = partOf(before, 2)
	t.log.Warn("out of memory: continuing with smaller microbatches, which give the same gradient",
		zap.Int("microbatch", o.Microbatch), zap.Int("before", before))
	t.work.graph.Close()
	t.optimizer.ZeroGrad()
	if t.device.Type == gotorch.CUDA {
		gotorch.EmptyCUDACache()
	}
	if t.run.Dir != "" {
		if err := writeConfig(t.run.Dir, t.config); err != nil { // the next checkpoint also stores it
			t.log.Warn("cannot write the smaller microbatch to the run folder's configuration", zap.Error(err))
		}
	}
	return true
}
