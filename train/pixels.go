package train

import "github.com/wangkuiyi/gotorch"

// PixelsToTensor turns bytes [N, H, W, C] into x in [-1, 1], float32 [N, C, H, W] in
// channels-last memory.
func PixelsToTensor(bytes gotorch.Tensor) gotorch.Tensor {
	halfRange := gotorch.FullOn(bytes.Device(), gotorch.Float, 127.5)
	return bytes.CastTo(gotorch.Float).DivI(halfRange).AddScalarI(-1).Permute([]int64{0, 3, 1, 2})
}

// TensorToPixels turns images [N, C, H, W] in [-1, 1] into bytes [N, H, W, C] on
// the host, as the reference does: what lies beyond is clipped, and fractions of a
// grey level are cut off.
func TensorToPixels(x gotorch.Tensor) []byte {
	scaled := x.AddScalar(1).MulScalar(127.5).Clamp(0, 255)
	return scaled.CastTo(gotorch.Byte).Permute([]int64{0, 2, 3, 1}).Contiguous().Uint8s()
}
