package train

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/model"
	"iddpm/train/engine"
)

// MemoryEstimate is the GPU memory of training in one process.
type MemoryEstimate = engine.MemoryEstimate

// EstimateMemory is [engine.EstimateMemory] of a configuration: batch is the number of images
// per process, microbatch those of a backward pass.
func EstimateMemory(network *model.UNet, c Config, batch, microbatch int) MemoryEstimate {
	return engine.EstimateMemory(network, c.engineOptions(gotorch.Device{}, nil), batch, microbatch)
}
