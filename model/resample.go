package model

import "github.com/wangkuiyi/gotorch"

// upsample is nearest-neighbour upsampling by 2 and a convolution, fused if the weight
// folds.
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

// newDownsample returns the convolution of stride 2 that halves the feature map's size.
func newDownsample(b builder, channels int) *conv {
	return newConv(b.at("op"), channels, channels, 3, 2, false)
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
