package engine

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
)

// Denoiser returns the network as package diffusion evaluates it. The labels and
// low-resolution images come from each call's Cond, all other inputs from in.
func Denoiser(network *model.UNet, in model.Input) diffusion.Denoiser {
	return func(x, t gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
		input := in
		input.Y, input.LowRes = cond.Y, cond.LowRes
		return network.Forward(x, t, input)
	}
}

// ClassGradient returns the gradient of log p(y | x_t) by x_t of a classifier, as package
// diffusion evaluates it. The labels come from each call's Cond, all other inputs from in.
func ClassGradient(network *model.Classifier, in model.Input) func(x, t gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
	return func(x, t gotorch.Tensor, cond diffusion.Cond) (gradient gotorch.Tensor) {
		gotorch.EnableGrad(func() {
			leaf := x.Detach()
			leaf.SetRequiresGrad(true)
			logProbs := network.Forward(leaf, t, in).LogSoftmax(1)
			gotorch.NllLoss(logProbs, cond.Y).Sum().Backward()
			gradient = leaf.Grad()
		})
		return gradient.Neg()
	}
}
