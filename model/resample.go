package model

import "github.com/wangkuiyi/gotorch"

// upsample doubles the sides by repeating pixels, then convolves.
type upsample struct{ conv *conv }

func newUpsample(b builder, channels int) *upsample {
	return &upsample{newConv(b.at("conv"), channels, channels, 3, 1, false)}
}

func (u *upsample) forward(x gotorch.Tensor) gotorch.Tensor {
	return u.conv.forward(gotorch.UpsampleNearest2d(x, 2*x.Size(2), 2*x.Size(3)))
}

// newDownsample returns the convolution of stride 2 that halves the sides.
func newDownsample(b builder, channels int) *conv {
	return newConv(b.at("op"), channels, channels, 3, 2, false)
}
