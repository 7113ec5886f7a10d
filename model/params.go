package model

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// Parameter is one tensor that training learns.
type Parameter struct {
	Name   string // as in PyTorch's state_dict
	Shape  []int64
	Tensor gotorch.Tensor // float32; undefined in a network that was only planned

	frozen    gotorch.Tensor // see UNet.Freeze
	autocast  bool           // used in the compute dtype, as PyTorch's autocast would
	deferred  bool           // the bias of a convolution that may leave it, in float32, to the next operator
	upsamples bool           // the weight of a convolution after an upsampling
}

// builder makes parameters in the order of PyTorch's named_parameters(). Its
// generator is drawn from in the order in which the reference's constructor
// draws, so a seed gives the weights that torch.manual_seed gives there.
type builder struct {
	params    *[]*Parameter
	path      string
	generator *gotorch.Generator // nil: plan shapes, make no tensors
	dropouts  *uint32            // dropout layers so far
}

// at returns a builder one step further down the state_dict's path.
func (b builder) at(name string) builder {
	if b.path != "" {
		name = b.path + "." + name
	}
	b.path = name
	return b
}

// param makes one parameter; init fills it, on the CPU. A convolution's weight
// then lies in memory as its inputs do, channels last: so neither the weight nor
// its gradient is rearranged in a step.
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

// autocast makes a parameter that is used in the compute dtype.
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

// zeroed draws as init does and then clears: the reference zeroes the last
// layer of each block after its constructor has drawn.
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
