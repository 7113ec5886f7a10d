package model

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// Parameter is one trainable tensor.
type Parameter struct {
	Name   string // as in PyTorch's state_dict
	Shape  []int64
	Tensor gotorch.Tensor // float32; undefined in a network of Plan

	frozen    gotorch.Tensor // see UNet.Freeze
	autocast  bool           // in the compute-dtype region (PyTorch's autocast)
	deferred  bool           // a convolution's bias that the next operator may add, in float32
	upsamples bool           // the weight of a convolution after an upsampling
	heads     int64          // of queries, keys and values whose rows are ordered as (queries, keys, values), heads; 0: another parameter
}

// numel returns the number of values of p.
func (p *Parameter) numel() int64 {
	n := int64(1)
	for _, s := range p.Shape {
		n *= s
	}
	return n
}

// as returns the parameter in dtype: the tensor itself, Freeze's copy, or a cast that
// gradients flow through. It folds and orders the weight as its layer needs.
func (p *Parameter) as(dtype gotorch.DType) gotorch.Tensor {
	switch {
	case p.frozen.Defined() && p.frozen.Dtype() == dtype:
		return p.frozen
	case p.folds(dtype):
		return gotorch.UpsampleWeight(p.Tensor, dtype)
	case dtype == gotorch.Float:
		return p.ordered(p.Tensor)
	}
	return p.ordered(p.Tensor.CastTo(dtype))
}

// ordered returns t, the parameter in some dtype, with its rows ordered as heads, (queries,
// keys, values), as [gotorch.SelfAttention] needs them. Ordering weights is cheaper than
// ordering activations.
func (p *Parameter) ordered(t gotorch.Tensor) gotorch.Tensor {
	if p.heads == 0 {
		return t
	}
	return t.View(3, p.heads, -1).Transpose(0, 1).Reshape(p.Shape...)
}

// folds reports whether an upsampling and the convolution by this weight run as one
// transposed convolution, which is faster on a CPU.
func (p *Parameter) folds(dtype gotorch.DType) bool {
	return p.upsamples && p.Tensor.Device().Type == gotorch.CPU && dtype != gotorch.Half
}

// builder creates parameters in the order of PyTorch's named_parameters(). It draws
// from the generator in the order of the reference's constructor, so a seed yields the
// weights that torch.manual_seed yields there.
type builder struct {
	params    *[]*Parameter
	path      string
	generator *gotorch.Generator // nil: shapes only, no tensors
	eps       float64            // of group norms
	dropouts  *uint32            // number of dropout layers so far
}

// at returns a builder for a submodule.
func (b builder) at(name string) builder {
	if b.path != "" {
		name = b.path + "." + name
	}
	b.path = name
	return b
}

// param creates one parameter on the CPU and initialises it with init. Convolution
// weights are channels-last like their inputs, so that no step converts the layout of a
// weight or its gradient.
func (b builder) param(name string, init func(gotorch.Tensor), shape ...int64) *Parameter {
	p := &Parameter{Name: b.path + "." + name, Shape: shape}
	if b.generator != nil {
		p.Tensor = gotorch.EmptyOn(gotorch.Device{}, gotorch.Float, shape...)
		init(p.Tensor)
		if len(shape) == 4 {
			p.Tensor = p.Tensor.ChannelsLast()
		}
	}
	*b.params = append(*b.params, p)
	return p
}

// autocast creates a parameter of the compute-dtype region.
func (b builder) autocast(name string, init func(gotorch.Tensor), shape ...int64) *Parameter {
	p := b.param(name, init, shape...)
	p.autocast = true
	return p
}

// uniformFanIn is PyTorch's default for the weights and biases of convolutions
// and linear layers: kaiming_uniform_ with a = sqrt(5), U(-1/sqrt(fanIn),
// 1/sqrt(fanIn)).
func (b builder) uniformFanIn(fanIn int64) func(gotorch.Tensor) {
	bound := 1 / math.Sqrt(float64(fanIn))
	return func(t gotorch.Tensor) { t.UniformI(-bound, bound, b.generator) }
}

// zeroed draws like init and then sets zero: the reference zeroes the last layer of each
// block after its constructor has drawn.
func zeroed(init func(gotorch.Tensor)) func(gotorch.Tensor) {
	return func(t gotorch.Tensor) {
		init(t)
		t.FillI(0)
	}
}

func constant(v float64) func(gotorch.Tensor) {
	return func(t gotorch.Tensor) { t.FillI(v) }
}

// nextDropout numbers the dropout layers: each has its own random stream.
func (b builder) nextDropout() uint32 {
	*b.dropouts++
	return *b.dropouts
}
