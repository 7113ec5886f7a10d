package engine

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
)

// losses are the terms of the objective and the accuracies of a microbatch, each [n] or
// undefined.
type losses struct {
	diffusion.Losses
	top1, top5 gotorch.Tensor // of a classifier: 1 if the class is the likeliest, or among the five likeliest, else 0
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
