package evaluate

import (
	"slices"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
)

// builder builds layers from a state_dict's tensors below a prefix.
type builder struct {
	dict    *pt.Dict
	device  gotorch.Device
	tensors *[]gotorch.Tensor // all weights so far
	prefix  string
	errs    *[]error
}

func (b builder) at(name string) builder {
	b.prefix += name + "."
	return b
}

// conv is a convolution with an odd kernel and "same" padding, with batch norm and ReLU.
func (b builder) conv(name string, in, out, height, width int64) layer {
	return b.unit(name, []int64{out, in, height, width}, 1, []int64{height / 2, width / 2})
}

// valid is a convolution without padding, with batch norm and ReLU.
func (b builder) valid(name string, in, out, side, stride int64) layer {
	return b.unit(name, []int64{out, in, side, side}, stride, []int64{0, 0})
}

func (b builder) unit(name string, shape []int64, stride int64, padding []int64) layer {
	weight, bias := b.at(name).folded(shape)
	return func(x gotorch.Tensor) gotorch.Tensor {
		return gotorch.Conv2d(x, weight, bias, []int64{stride}, padding, []int64{1}, 1).Relu()
	}
}

// batchNormEps is the network's, not PyTorch's default.
const batchNormEps = 1e-3

// folded returns the weight and bias of a convolution with the batch norm folded in:
// w' = w g / sqrt(var + eps), b' = b - mean g / sqrt(var + eps).
func (b builder) folded(shape []int64) (weight, bias gotorch.Tensor) {
	channels := shape[0]
	w := b.tensor("conv.weight", shape...)
	g, shift := b.tensor("bn.weight", channels), b.tensor("bn.bias", channels)
	mean, variance := b.tensor("bn.running_mean", channels), b.tensor("bn.running_var", channels)
	if len(*b.errs) > 0 {
		return weight, bias
	}
	gotorch.Scope(func() {
		double := func(t *pt.Tensor) gotorch.Tensor { return gotorch.FromPT(t).CastTo(gotorch.Double) }
		factor := double(g).Div(double(variance).AddScalar(batchNormEps).Sqrt())
		weight = b.keep(double(w).Mul(factor.View(channels, 1, 1, 1)).CastTo(gotorch.Float).ChannelsLast())
		bias = b.keep(double(shift).Sub(double(mean).Mul(factor), 1).CastTo(gotorch.Float))
	})
	return weight, bias
}

// weight returns a tensor of the state_dict on the device.
func (b builder) weight(name string, shape ...int64) (weight gotorch.Tensor) {
	t := b.tensor(name, shape...)
	if len(*b.errs) == 0 {
		gotorch.Scope(func() { weight = b.keep(gotorch.FromPT(t).CastTo(gotorch.Float)) })
	}
	return weight
}

// keep moves a tensor to the device, and out of any scope.
func (b builder) keep(t gotorch.Tensor) gotorch.Tensor {
	t = t.To(b.device).MoveOut()
	*b.tensors = append(*b.tensors, t)
	return t
}

// tensor looks a tensor up and checks its shape.
func (b builder) tensor(name string, shape ...int64) *pt.Tensor {
	name = b.prefix + name
	value, _ := b.dict.Get(name)
	t, ok := value.(*pt.Tensor)
	switch {
	case !ok:
		*b.errs = append(*b.errs, &model.Mismatch{Name: name, Want: shape})
	case !slices.Equal(t.Shape, shape):
		*b.errs = append(*b.errs, &model.Mismatch{Name: name, Want: shape, Got: append([]int64{}, t.Shape...)})
	}
	return t
}
