package engine

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/train/posthoc"
)

// powerUpdateWeights returns the factors of the new weights in the update of each
// power-function EMA by a step, counted from 1.
func (c *core) powerUpdateWeights(step int) (weights []float64) {
	for _, gamma := range c.gammas {
		weights = append(weights, posthoc.UpdateWeight(gamma, step))
	}
	return weights
}

// updatePowerEMAs moves the power-function EMAs towards the updated weights, each by its factor,
// float32 []. A skipped step counts as one that leaves the weights as they are, so that the
// profile of an EMA is a function of the step alone.
func (c *core) updatePowerEMAs(weights []gotorch.Tensor) {
	for i, weight := range weights {
		gotorch.NoGrad(func() { gotorch.Scope(func() { lerp(c.ema[len(c.options.EMARates)+i], c.network.Tensors(), weight) }) })
	}
}
