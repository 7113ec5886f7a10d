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
