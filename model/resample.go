package model

import "github.com/wangkuiyi/gotorch"

// resampling changes the size of a feature map, without weights.
type resampling int

const (
	keepSize   resampling = iota
	halveSize             // average pooling by 2
	doubleSize            // nearest-neighbour upsampling by 2
)

// apply resamples x [N, C, H, W].
func (r resampling) apply(x gotorch.Tensor) gotorch.Tensor {
	switch r {
	case halveSize:
		return gotorch.AvgPool2d(x, []int64{2}, []int64{2}, []int64{0}, true)
	case doubleSize:
		return gotorch.UpsampleNearest2d(x, 2*x.Size(2), 2*x.Size(3))
	}
	return x
}

// size returns the size in pixels of a resampled feature map.
func (r resampling) size(side int64) int64 {
	switch r {
	case halveSize:
		return side / 2
	case doubleSize:
		return 2 * side
	}
	return side
}

// downsampleAsymmetric convolves x [N, I, H, W] with stride 2 and zeros at the right and the bottom
// alone: the convolution with two zeros on all sides, without its first row and column.
func downsampleAsymmetric(x, weight, bias gotorch.Tensor) gotorch.Tensor {
	y := gotorch.Conv2d(x, weight, bias, []int64{2}, []int64{2}, []int64{1}, 1)
	return y.Narrow(2, 1, x.Size(2)/2).Narrow(3, 1, x.Size(3)/2).ChannelsLast()
}

// LowRes returns the low-resolution conditioning of a super-resolution network for images
// x [N, C, H, W]: [N, C, SmallSize, SmallSize] by average pooling, the reference's
// interpolation mode "area". It is undefined if c is no super-resolution network.
func (c Config) LowRes(x gotorch.Tensor) gotorch.Tensor {
	if !c.SuperRes() {
		return gotorch.Tensor{}
	}
	size := int64(c.SmallSize)
	return gotorch.AdaptiveAvgPool2d(x, []int64{size, size})
}
