package train

import (
	"errors"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/model"
)

// roomOfAllocator is how much more than its tensors a process takes of a GPU: the allocator
// cannot use all that lies between blocks, and convolutions have workspaces.
const roomOfAllocator = 1.2

// chooseMicrobatch chooses the largest microbatch that fits into the GPU's free memory, where
// the configuration leaves the choice and no earlier process has made it. On a CPU that is the
// whole share of the batch.
func (t *Trainer) chooseMicrobatch() error {
	o := &t.config.Train
	if !o.MicrobatchAuto || o.Microbatch > 0 {
		return nil
	}
	o.Microbatch = t.share()
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
	o.Microbatch = largestMicrobatch(network, t.config, t.share(), free)
	t.log.Info("microbatch chosen", zap.Int("images", o.Microbatch), zap.Int64("free_bytes", free),
		zap.Int64("estimated_bytes", EstimateMemory(network, t.config, t.share(), o.Microbatch).Bytes()))
	return nil
}

// largestMicrobatch returns the largest part of `batch` images that fits into free bytes when
// all parts are as equal as can be, or 1.
func largestMicrobatch(network *model.UNet, c Config, batch int, free int64) int {
	for parts := 1; parts < batch; parts++ {
		n := partOf(batch, parts)
		if roomOfAllocator*float64(EstimateMemory(network, c, batch, n).Bytes()) <= float64(free) {
			return n
		}
	}
	return 1
}

// partOf returns the size of the largest of some nearly equal parts.
func partOf(n, parts int) int { return (n + parts - 1) / parts }

// stepThatFits is announcedStep. Where the configuration leaves the microbatch's size to the
// trainer, a step that runs out of memory is taken again in smaller parts: the gradient is the
// global mean whatever they are, and the weights, which change last, are what they were.
func (t *Trainer) stepThatFits(batch data.Batch) (r *stepResult, err error) {
	for {
		refused := gotorch.Try(func() { r, err = t.announcedStep(batch) })
		if refused == nil {
			if err == nil && outOfMemory(t.work.graph.Err()) { // it went without a graph, which would be slow for good
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

// lowerMicrobatch makes the microbatches of the next steps half as large and reports whether it
// could. Among several processes it cannot: the others wait in the middle of their steps.
func (t *Trainer) lowerMicrobatch() bool {
	o := &t.config.Train
	before := min(o.microbatch(), t.share())
	if !o.MicrobatchAuto || before < 2 || t.group.Size() > 1 {
		return false
	}
	o.Microbatch = partOf(before, 2)
	t.log.Warn("out of memory: smaller microbatches from here on, with the same gradient",
		zap.Int("microbatch", o.Microbatch), zap.Int("before", before))
	t.work.graph.Close()
	t.optimizer.ZeroGrad()
	if t.device.Type == gotorch.CUDA {
		gotorch.EmptyCUDACache()
	}
	if t.run.Dir != "" {
		if err := writeConfig(t.run.Dir, t.config); err != nil { // the next checkpoint has it, too
			t.log.Warn("the run folder's configuration still has the larger microbatch", zap.Error(err))
		}
	}
	return true
}
