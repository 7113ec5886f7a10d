package train

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/train/engine"
)

// PixelsToTensor is [engine.PixelsToTensor].
func PixelsToTensor(bytes gotorch.Tensor) gotorch.Tensor { return engine.PixelsToTensor(bytes) }

// TensorToPixels converts images [N, C, H, W] in [-1, 1] to bytes [N, H, W, C] on the host.
// As in the reference, values outside are clipped and the rest truncated, not rounded.
func TensorToPixels(x gotorch.Tensor) []byte {
	scaled := x.AddScalar(1).MulScalar(127.5).Clamp(0, 255)
	return scaled.CastTo(gotorch.Byte).Permute([]int64{0, 2, 3, 1}).Contiguous().Uint8s()
}
