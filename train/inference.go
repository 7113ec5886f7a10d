package train

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
)

// Inference sets the process-wide modes for inference on a device in a precision of
// [Options], and returns the dtype of the network's activations.
func Inference(precision string, device gotorch.Device) (dtype int8, err error) {
	if _, ok := precisions[precision]; !ok {
		return 0, fmt.Errorf("precision %q is not one of auto, fp32, tf32, bf16, fp16", precision)
	}
	if precision, err = choosePrecision(precision, device); err != nil {
		return 0, err
	}
	p := precisions[precision]
	p.apply(device)
	return p.dtype, nil
}

// Denoiser returns the network as package diffusion evaluates it. The labels and
// low-resolution images come from each call's Cond, all other inputs from in.
func Denoiser(network *model.UNet, in model.Input) diffusion.Denoiser {
	return func(x, t gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
		input := in
		input.Y, input.LowRes = cond.Y, cond.LowRes
		return network.Forward(x, t, input)
	}
}
