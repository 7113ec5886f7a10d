package engine

import "github.com/wangkuiyi/gotorch"

// PixelsToTensor converts uint8 pixels [N, H, W, C] to float32 images [N, C, H, W] in
// [-1, 1], in channels-last memory format.
func PixelsToTensor(bytes gotorch.Tensor) gotorch.Tensor {
	halfRange := gotorch.FullOn(bytes.Device(), gotorch.Float, 127.5)
	return bytes.CastTo(gotorch.Float).DivI(halfRange).AddScalarI(-1).Permute([]int64{0, 3, 1, 2})
}

// TensorToPixels converts images [N, C, H, W] in [-1, 1] to bytes [N, H, W, C] on the host.
// As in the reference, values outside are clipped and the rest truncated, not rounded.
func TensorToPixels(x gotorch.Tensor) []byte {
	scaled := x.AddScalar(1).MulScalar(127.5).Clamp(0, 255)
	return scaled.CastTo(gotorch.Byte).Permute([]int64{0, 2, 3, 1}).Contiguous().Uint8s()
}
