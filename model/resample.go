package model

import "github.com/wangkuiyi/gotorch"

// upsample doubles the sides by repeating pixels, then convolves; where the
// weight folds, both at once.
type upsample struct{ conv *conv }

func newUpsample(b builder, channels int) *upsample {
	u := &upsample{newConv(b.at("conv"), channels, channels, 3, 1, false)}
	u.conv.weight.upsamples = true
	return u
}

func (u *upsample) forward(x gotorch.Tensor, p pass) gotorch.Tensor {
	weight, bias, dtype := u.conv.weight, u.conv.bias, x.Dtype()
	if weight.folds(dtype) {
		return gotorch.UpsampleConv2d(x, p.as(weight, dtype), p.as(bias, dtype))
	}
	return u.conv.forward(gotorch.UpsampleNearest2d(x, 2*x.Size(2), 2*x.Size(3)), p)
}

// newDownsample returns the convolution of stride 2 that halves the sides.
func newDownsample(b builder, channels int) *conv {
	return newConv(b.at("op"), channels, channels, 3, 2, false)
}

// LowRes returns what a super-resolution network sees of images x, [N, C, H,
// W], beside them: [N, C, SmallSize, SmallSize], each value the mean of the area
// that it covers, as the reference's interpolation by mode "area". It is undefined
// for a network of another kind.
func (c Config) LowRes(x gotorch.Tensor) gotorch.Tensor {
	if !c.SuperRes() {
		return gotorch.Tensor{}
	}
	size := int64(c.SmallSize)
	return gotorch.AdaptiveAvgPool2d(x, []int64{size, size})
}
