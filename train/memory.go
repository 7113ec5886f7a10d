package train

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/model"
	"iddpm/train/engine"
)

// EstimateMemory is [engine.EstimateMemory] of a configuration: batch is the number of images
// per process, microbatch those of a backward pass.
func EstimateMemory(network *model.UNet, c Config, batch, microbatch int) engine.MemoryEstimate {
	return engine.EstimateMemory(network, c.engineOptions(gotorch.Device{}, nil), batch, microbatch)
}
