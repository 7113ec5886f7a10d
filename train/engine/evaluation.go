package engine

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/model"
	"iddpm/streams"
)

// Classified are the results of a classifier for N images.
type Classified struct {
	Loss, Top1, Top5 []float64 // [N]: cross-entropy in nats, and as [Values]
}

// Evaluate evaluates a classifier at images x [N, C, H, W] of labels y, int64 [N], noised to the
// timesteps t with fixed noise. first is the index of the first image in its set.
func (e *Engine) Evaluate(x, y gotorch.Tensor, t []int64, first int) (r Classified) {
	network := e.network.(*model.Classifier)
	gotorch.NoGrad(func() {
		gotorch.Scope(func() {
			steps := e.diffusion.At(t)
			if !e.options.CleanImages {
				x = e.diffusion.DrawQSample(x, steps, gotorch.PhiloxKey{Stream: streams.SampleNoise, FirstSample: int64(first)})
			}
			l := classify(network, x, steps, y, model.Input{Dtype: e.precision.Dtype})
			r = Classified{l.Loss.Float64s(), l.top1.Float64s(), l.top5.Float64s()}
		})
	})
	return r
}
