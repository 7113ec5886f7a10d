package train

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/train/engine"
)

// PrecisionError says that a GPU does not support a precision's number type.
type PrecisionError = engine.PrecisionError

// ResolvePrecision replaces "auto" by the device's best precision: see
// [engine.AutomaticPrecision].
func ResolvePrecision(name string, device gotorch.Device) string {
	return engine.AutomaticPrecision(name, device)
}

// Inference returns what a precision of [Options] means for inference on a device: the dtype of
// the network's activations, and the setting for [gotorch.Settings].
func Inference(precision string, device gotorch.Device) (dtype gotorch.DType, tf32 gotorch.TF32, err error) {
	if precision, err = engine.ResolvePrecision(precision, device); err != nil {
		return 0, 0, err
	}
	p := engine.Precisions[precision]
	return p.Dtype, p.TF32(device), nil
}

// Denoiser is [engine.Denoiser].
func Denoiser(network *model.UNet, in model.Input) diffusion.Denoiser {
	return engine.Denoiser(network, in)
}

// Finite is [engine.Finite].
func Finite(x gotorch.Tensor) bool { return engine.Finite(x) }

// ClassGradient is [engine.ClassGradient].
func ClassGradient(network *model.Classifier, in model.Input) func(x, t gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
	return engine.ClassGradient(network, in)
}
