package train

import "iddpm/model"

// MemoryEstimate is the GPU memory of training in one process, in bytes.
type MemoryEstimate struct {
	State int64 // master and working weights, optimizer state, EMA weights, the batch's images
	Step  int64 // peak of a step: activations and gradients
}

// Bytes returns the peak of memory in tensors. It excludes workspaces of cuDNN and cuBLAS,
// the CUDA context and the allocator's fragmentation.
func (m MemoryEstimate) Bytes() int64 { return m.State + m.Step }

// EstimateMemory computes the estimate from the network's structure: see
// [model.UNet.StepBytes]. batch is the number of images per process, microbatch those of a
// backward pass. The precision "auto" counts as bfloat16.
func EstimateMemory(network *model.UNet, c Config, batch, microbatch int) MemoryEstimate {
	o, p := c.Train, precisions[c.Train.Precision]
	if o.Precision == "auto" {
		p = precisions["bf16"]
	}
	s := model.StepMemory{
		Images: microbatch, ImageSize: c.Model.ImageSize, ElementBytes: p.bytes(), WorkingWeights: p.hasWorkingWeights(), Accumulates: microbatch < batch, Checkpointing: c.Model.UseCheckpoint,
	}
	m := MemoryEstimate{State: int64(3+len(o.EMARates)) * 4 * network.NumParameters()}
	if s.WorkingWeights {
		m.State += network.WorkingWeightBytes()
	}
	// The images of the whole batch, as bytes and in float32.
	m.State += int64(batch) * int64(c.Model.ImageSize) * int64(c.Model.ImageSize) * int64(c.Model.InChannels) * (1 + 4)
	m.Step = network.StepBytes(s)
	return m
}
