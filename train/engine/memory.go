package engine

import (
	"errors"

	"github.com/wangkuiyi/gotorch"

	"iddpm/model"
)

// MemoryEstimate is the GPU memory of training or sampling in one process, in bytes.
type MemoryEstimate struct {
	State int64 // weights; in training also optimizer state, EMA weights, the batch's images
	Step  int64 // peak of a step: activations, and in training gradients
}

// Bytes returns the peak of memory in tensors. It excludes workspaces of cuDNN and cuBLAS,
// the CUDA context and the allocator's fragmentation.
func (m MemoryEstimate) Bytes() int64 { return m.State + m.Step }

// EstimateMemory computes the estimate from the network's structure: see
// [model.UNet.StepBytes] and [Options.Plan]. batch is the number of images per process, microbatch those of a
// backward pass. The precision "auto" counts as bfloat16.
func EstimateMemory(network Network, o Options, batch, microbatch int) MemoryEstimate {
	p := Precisions[EstimatedPrecision(o.Precision)]
	s := model.StepMemory{
		Images: microbatch, ImageSize: o.Model.ImageSize, ElementBytes: p.bytes(), WorkingWeights: p.hasWorkingWeights(), Accumulates: microbatch < batch, Checkpointing: o.Model.UseCheckpoint,
	}
	m := MemoryEstimate{State: int64(3+len(o.EMARates)+len(o.PowerEMAs)) * 4 * network.NumParameters()}
	if s.WorkingWeights {
		m.State += network.WorkingWeightBytes()
	}
	// The images of the whole batch, as bytes and in float32.
	m.State += int64(batch) * int64(o.Model.ImageSize) * int64(o.Model.ImageSize) * int64(o.Model.InChannels) * (1 + 4)
	m.Step = network.StepBytes(s)
	return m
}

// EstimatedPrecision returns the name of the precision that an estimate is for: bf16 for auto or "".
func EstimatedPrecision(name string) string {
	if name == "auto" || name == "" {
		return "bf16"
	}
	return name
}

// EstimateSampling computes the memory of sampling n images at once: see [model.UNet.EvaluationBytes].
// The precision "auto" counts as bfloat16.
func EstimateSampling(network *model.UNet, imageSize int, precision string, n int) MemoryEstimate {
	bytes := Precisions[EstimatedPrecision(precision)].bytes()
	return MemoryEstimate{State: network.FrozenBytes(bytes), Step: network.EvaluationBytes(n, imageSize, bytes)}
}

// EstimateClassifierGradient computes the memory that a classifier adds to sampling n images at once: see
// [model.Classifier.GradientBytes].
func EstimateClassifierGradient(network *model.Classifier, imageSize int, precision string, n int) MemoryEstimate {
	bytes := Precisions[EstimatedPrecision(precision)].bytes()
	return MemoryEstimate{State: network.FrozenBytes(bytes), Step: network.GradientBytes(n, imageSize, bytes)}
}

// Beside returns the memory of two networks that run one after the other: the sum of State and the
// larger Step.
func (m MemoryEstimate) Beside(other MemoryEstimate) MemoryEstimate {
	return MemoryEstimate{State: m.State + other.State, Step: max(m.Step, other.Step)}
}

// memoryMargin is the assumed ratio of a process's GPU memory to its tensors: for the
// allocator's fragmentation and for convolution workspaces.
const memoryMargin = 1.2

// LargestMicrobatch divides `batch` images into nearly equal microbatches, as few as fit into
// the free bytes, and returns the size of the largest, at least 1.
func LargestMicrobatch(network Network, o Options, batch int, free int64) int {
	for parts := 1; parts < batch; parts++ {
		n := partOf(batch, parts)
		if memoryMargin*float64(EstimateMemory(network, o, batch, n).Bytes()) <= float64(free) {
			return n
		}
	}
	return 1
}

// partOf returns the size of the largest of nearly equal parts.
func partOf(n, parts int) int { return (n + parts - 1) / parts }

func outOfMemory(err error) bool {
	var refused *gotorch.Error
	return errors.As(err, &refused) && refused.OutOfMemory
}
