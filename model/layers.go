package model

import "github.com/wangkuiyi/gotorch"

// normGroups is the number of groups of every group norm.
const normGroups = 32

// conv is a 2-D convolution with bias.
type conv struct {
	weight, bias    *Parameter // [O, I, k, k], [O]
	stride, padding []int64
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

// forward convolves x [N, I, H, W] in x's dtype.
func (c *conv) forward(x gotorch.Tensor, p pass) gotorch.Tensor {
	dtype := x.Dtype()
	return gotorch.Conv2d(x, p.as(c.weight, dtype), p.as(c.bias, dtype), c.stride, c.padding, []int64{1}, 1)
}

// withoutBias convolves x and leaves the bias to the next operator.
func (c *conv) withoutBias(x gotorch.Tensor, p pass) gotorch.Tensor {
	return gotorch.Conv2d(x, p.as(c.weight, x.Dtype()), gotorch.Tensor{}, c.stride, c.padding, []int64{1}, 1)
}

// linear is x weight^T + bias. A convolution of kernel 1 over a sequence, as
// the reference's attention uses, is the same with a weight of [O, I, 1].
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
}

const normEps = 1e-5

func newNorm(b builder, channels int) *norm {
	return &norm{
		weight: b.param("weight", constant(1), int64(channels)),
		bias:   b.param("bias", constant(0), int64(channels)),
	}
}

// silu normalises x and applies SiLU.
func (n *norm) silu(x gotorch.Tensor) gotorch.Tensor {
	return n.with(x, gotorch.GroupNormSiluOptions{})
}

// beside normalises x and does all that o asks for; what else takes x is to take
// the second result.
func (n *norm) beside(x gotorch.Tensor, o gotorch.GroupNormSiluOptions) (y, same gotorch.Tensor) {
	return gotorch.GroupNormSiluBeside(x, normGroups, n.weight.Tensor, n.bias.Tensor, normEps, o)
}

// joined is beside of two tensors, joined along their channels.
func (n *norm) joined(first, rest gotorch.Tensor, o gotorch.GroupNormSiluOptions) (y, both gotorch.Tensor) {
	return gotorch.GroupNormSiluJoined(first, rest, normGroups, n.weight.Tensor, n.bias.Tensor, normEps, o)
}

// with normalises x and does all that o asks for.
func (n *norm) with(x gotorch.Tensor, o gotorch.GroupNormSiluOptions) gotorch.Tensor {
	return gotorch.GroupNormSilu(x, normGroups, n.weight.Tensor, n.bias.Tensor, normEps, o)
}

// castWeights returns the weights of the autocast region in its dtype, cast all at once,
// except those that are frozen, folded, or biases left to the next operator.
func (m *UNet) castWeights(dtype int8, defersBias bool) map[*Parameter]gotorch.Tensor {
	var params []*Parameter
	var weights []gotorch.Tensor
	for _, p := range m.params {
		if dtype != gotorch.Float && p.autocast && !p.frozen.Defined() && !p.folds(dtype) && !(p.deferred && defersBias) {
			params, weights = append(params, p), append(weights, p.Tensor)
		}
	}
	casts := make(map[*Parameter]gotorch.Tensor, len(params))
	for i, cast := range gotorch.ForeachCastTo(weights, dtype) {
		casts[params[i]] = cast
	}
	return casts
}

// WorkingWeights returns, by parameter, the weights of the autocast region in dtype, as
// leaves that require gradients: see [Input.WorkingWeights]. In float32 there are none.
// Call it outside any scope; the caller owns them.
func (m *UNet) WorkingWeights(dtype int8) (working map[*Parameter]gotorch.Tensor) {
	gotorch.NoGrad(func() { working = m.castWeights(dtype, defersBias(m.params[0].Tensor)) })
	for _, leaf := range working {
		leaf.SetRequiresGrad(true)
	}
	return working
}

// as returns a parameter in dtype, from this pass's casts if it is among them.
func (p pass) as(w *Parameter, dtype int8) gotorch.Tensor {
	if cast, made := p.casts[w]; made {
		return cast
	}
	return w.as(dtype)
}

// as returns the parameter in dtype: itself, the copy that Freeze made, or a cast
// that gradients flow through. Where it folds, it is folded.
func (p *Parameter) as(dtype int8) gotorch.Tensor {
	switch {
	case p.frozen.Defined() && p.frozen.Dtype() == dtype:
		return p.frozen
	case p.folds(dtype):
		return gotorch.UpsampleWeight(p.Tensor, dtype)
	case dtype == gotorch.Float:
		return p.Tensor
	}
	return p.Tensor.CastTo(dtype)
}

// folds reports whether an up-sampling and its convolution by this weight are one
// transposed convolution: on a CPU, whose speed has been measured.
func (p *Parameter) folds(dtype int8) bool {
	return p.upsamples && p.Tensor.Device().Type == gotorch.CPU && dtype != gotorch.Half
}

// Freeze keeps a copy of the weights in dtype, so that evaluations in that
// dtype need not cast or fold them each time. The weights must not change any
// more, and no gradient reaches them. Call it outside any scope.
func (m *UNet) Freeze(dtype int8) {
	if dtype == 0 {
		dtype = gotorch.Float
	}
	gotorch.NoGrad(func() {
		for _, p := range m.params {
			p.frozen.Free()
			p.frozen = gotorch.Tensor{}
			if dtype != gotorch.Float || p.folds(dtype) {
				p.frozen = p.as(dtype)
			}
		}
	})
}
