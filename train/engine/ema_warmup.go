package engine

import "github.com/wangkuiyi/gotorch"

// EMADecay returns the decay rate with which a step updates an EMA that warms up: the smaller
// of its rate and (1+step)/(10+step), as in TensorFlow's ExponentialMovingAverage. step counts
// optimizer steps from 1, skipped ones included, so that it is a function of the step alone.
func EMADecay(rate float64, step int) float64 {
	return min(rate, float64(1+step)/float64(10+step))
}

// updateEMAs moves the EMAs towards the updated weights, with decay rates of at most limit,
// float64 []. They stay as they are where skip, float32 [], is 1. The step's inputs hold the
// limit, so that a captured graph follows its growth. The optimizer's fused update, which
// otherwise does this, captures its rates as constants.
func (c *core) updateEMAs(limit, skip gotorch.Tensor) {
	applied := skip.MulScalar(-1).AddScalar(1)
	for i, rate := range c.options.EMARates {
		weight := limit.Clamp(0, rate).MulScalar(-1).AddScalar(1).CastTo(gotorch.Float).Mul(applied)
		gotorch.NoGrad(func() { gotorch.Scope(func() { lerp(c.ema[i], c.network.Tensors(), weight) }) })
	}
}

// lerp sets every a[i] to a[i] + weight (b[i] - a[i]); weight is float32 [].
func lerp(a, b []gotorch.Tensor, weight gotorch.Tensor) {
	difference := make([]gotorch.Tensor, len(b))
	for i, x := range b {
		difference[i] = gotorch.EmptyLike(x)
	}
	gotorch.ForeachCopyI(difference, b)
	gotorch.ForeachAddI(difference, a, -1)
	gotorch.ForeachMulI(difference, weight)
	gotorch.ForeachAddI(a, difference, 1)
}
