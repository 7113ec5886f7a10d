package model

import "github.com/wangkuiyi/gotorch"

// conv is a 2-D convolution with bias, of an input that may be resampled before.
type conv struct {
	weight, bias    *Parameter // [O, I, k, k], [O]
	stride, padding []int64
	resample        resampling // of the input
	asymmetric      bool       // see downsampleAsymmetric
}

func newConv(b builder, in, out, kernel, stride int, zero bool) *conv {
	fanIn := int64(in * kernel * kernel)
	init := b.uniformFanIn(fanIn)
	if zero {
		init = zeroed(init)
	}
	return &conv{
		weight:  b.autocast("weight", init, int64(out), int64(in), int64(kernel), int64(kernel)),
		bias:    b.autocast("bias", init, int64(out)),
		stride:  []int64{int64(stride)},
		padding: []int64{int64(kernel / 2)},
	}
}

// resampleInput makes c resample its input. Upsampling is fused with the convolution where
// the weight folds.
func (c *conv) resampleInput(r resampling) {
	c.resample, c.weight.upsamples = r, r == doubleSize
}

// forward resamples and convolves x [N, I, H, W] in x's dtype.
func (c *conv) forward(x gotorch.Tensor, p pass) gotorch.Tensor {
	dtype := x.Dtype()
	if c.asymmetric {
		return downsampleAsymmetric(x, p.as(c.weight, dtype), p.as(c.bias, dtype))
	}
	if c.weight.folds(dtype) {
		return gotorch.UpsampleConv2d(x, p.as(c.weight, dtype), p.as(c.bias, dtype))
	}
	return gotorch.Conv2d(c.resample.apply(x), p.as(c.weight, dtype), p.as(c.bias, dtype), c.stride, c.padding, []int64{1}, 1)
}

// withoutBias resamples and convolves x; the next operator adds the bias.
func (c *conv) withoutBias(x gotorch.Tensor, p pass) gotorch.Tensor {
	return gotorch.Conv2d(c.resample.apply(x), p.as(c.weight, x.Dtype()), gotorch.Tensor{}, c.stride, c.padding, []int64{1}, 1)
}

// newUpsample returns nearest-neighbour upsampling by 2 and a convolution.
func newUpsample(b builder, channels int) *conv {
	c := newConv(b.at("conv"), channels, channels, 3, 1, false)
	c.resampleInput(doubleSize)
	return c
}

// newDownsample returns the convolution of stride 2 that halves the feature map's size.
func newDownsample(b builder, channels int, asymmetric bool) *conv {
	c := newConv(b.at("op"), channels, channels, 3, 2, false)
	c.asymmetric = asymmetric
	return c
}

// linear is x weight^T + bias. The reference's attention uses 1-D convolutions with
// kernel 1, which are the same with a weight of [O, I, 1].
type linear struct {
	weight, bias *Parameter
	out, in      int64
}

func newLinear(b builder, in, out int) *linear {
	init := b.uniformFanIn(int64(in))
	return &linear{
		weight: b.param("weight", init, int64(out), int64(in)),
		bias:   b.param("bias", init, int64(out)),
		out:    int64(out), in: int64(in),
	}
}

func newConv1d(b builder, in, out int, zero bool) *linear {
	init := b.uniformFanIn(int64(in))
	if zero {
		init = zeroed(init)
	}
	return &linear{
		weight: b.autocast("weight", init, int64(out), int64(in), 1),
		bias:   b.autocast("bias", init, int64(out)),
		out:    int64(out), in: int64(in),
	}
}

// newPlainConv1d is newConv1d with PyTorch's own initial weights, outside the compute-dtype region.
func newPlainConv1d(b builder, in, out int) *linear {
	init := b.uniformFanIn(int64(in))
	return &linear{
		weight: b.param("weight", init, int64(out), int64(in), 1),
		bias:   b.param("bias", init, int64(out)),
		out:    int64(out), in: int64(in),
	}
}

// newConv1x1 is a 2-D convolution with kernel 1 of one pixel, whose weights begin with zeros.
func newConv1x1(b builder, in, out int) *linear {
	init := zeroed(b.uniformFanIn(int64(in)))
	return &linear{
		weight: b.param("weight", init, int64(out), int64(in), 1, 1),
		bias:   b.param("bias", init, int64(out)),
		out:    int64(out), in: int64(in),
	}
}

// forward maps x [..., in] to [..., out] in x's dtype.
func (l *linear) forward(x gotorch.Tensor, p pass) gotorch.Tensor {
	dtype := x.Dtype()
	weight := p.as(l.weight, dtype)
	if len(l.weight.Shape) != 2 {
		weight = weight.View(l.out, l.in)
	}
	return gotorch.Linear(x, weight, p.as(l.bias, dtype))
}

// norm is a group norm over 32 groups (the reference's GroupNorm32).
type norm struct {
	weight, bias *Parameter // [C]
	eps          float64
}

// normEps is epsilon unless [Config] names another.
const normEps = 1e-5

func newNorm(b builder, channels int) *norm {
	return &norm{
		weight: b.param("weight", constant(1), int64(channels)),
		bias:   b.param("bias", constant(0), int64(channels)),
		eps:    b.eps,
	}
}

// silu normalises x and applies SiLU.
func (n *norm) silu(x gotorch.Tensor) gotorch.Tensor {
	return n.with(x, gotorch.GroupNormSiluOptions{})
}

// withInput is with for an x that has a second use (the residual connection), which must
// use the second result: the backward pass then adds both gradients in the norm's kernel.
func (n *norm) withInput(x gotorch.Tensor, o gotorch.GroupNormSiluOptions) (y, same gotorch.Tensor) {
	return gotorch.GroupNormSiluSkip(x, normGroups, n.weight.Tensor, n.bias.Tensor, n.eps, o)
}

// concat is withInput of two tensors, concatenated along their channels.
func (n *norm) concat(first, rest gotorch.Tensor, o gotorch.GroupNormSiluOptions) (y, both gotorch.Tensor) {
	return gotorch.GroupNormSiluConcat(first, rest, normGroups, n.weight.Tensor, n.bias.Tensor, n.eps, o)
}

// with normalises x with the fused operations in o.
func (n *norm) with(x gotorch.Tensor, o gotorch.GroupNormSiluOptions) gotorch.Tensor {
	return gotorch.GroupNormSilu(x, normGroups, n.weight.Tensor, n.bias.Tensor, n.eps, o)
}
