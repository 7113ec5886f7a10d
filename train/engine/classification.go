package engine

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/streams"
)

// losses are the terms of the objective and the accuracies of a microbatch, each [n] or
// undefined.
type losses struct {
	diffusion.Losses
	top1, top5 gotorch.Tensor // of a classifier: 1 if the class is the likeliest, or among the five likeliest, else 0
}

// classify returns the cross-entropy of a classifier at x_t, or at clean images and t = 0, and its
// accuracies (Dhariwal & Nichol 2021, section 4).
func (c *core) classify(network *model.Classifier, in stepInputs, m microbatch, input model.Input) losses {
	x, t := m.x, c.diffusion.AtTensor(m.timesteps, nil)
	if !c.options.CleanImages {
		x = c.diffusion.DrawQSample(x, t, c.key(in, m, streams.TrainingNoise))
	}
	return classify(network, x, t, m.y, input)
}

// classify evaluates a classifier at images x [n, C, H, W], timesteps t and labels y, int64 [n].
func classify(network *model.Classifier, x gotorch.Tensor, t diffusion.Timesteps, y gotorch.Tensor, input model.Input) (l losses) {
	logits := network.Forward(x, t.Scaled(), input)
	l.Loss = gotorch.NllLoss(logits.LogSoftmax(1), y)
	_, likeliest := gotorch.TopK(logits.Detach(), min(5, logits.Size(1)), 1, true, true)
	hits := likeliest.Sub(y.Unsqueeze(1), 1).EqScalar(0).CastTo(gotorch.Float)
	l.top1, l.top5 = hits.Select(1, 0), hits.SumDims(false, 1)
	return l
}

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
