package train

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/model"
	"iddpm/train/engine"
)

// benchProducts runs only the convolutions and matrix multiplications of a training step,
// as plain libtorch calls on tensors of their own: a lower bound of the step's time. Shapes,
// dtype and memory format are those of the unfused network (see model.Product), without
// recomputation for gradient checkpointing.
//
// On a GPU they are a captured graph, like the step: otherwise their measured time would
// include launch overhead that the step does not have.
type benchProducts struct {
	microbatches [][]benchProduct
	graph        *gotorch.Graph
}

// benchProduct is one product with its tensors.
type benchProduct struct {
	model.Product
	input, other, bias gotorch.Tensor // other is the weight, or the second of two activations
	gradient           gotorch.Tensor // of the loss with respect to the result
	leaves             []gotorch.Tensor
}

// newBenchProducts makes the tensors.
func newBenchProducts(e *engine.Engine) *benchProducts {
	b := new(benchProducts)
	size, total := e.Options().Microbatch, e.Options().BatchSize
	for first := 0; first < total; first += size {
		var list []benchProduct
		for _, p := range e.UNet().Products(min(size, total-first), e.Options().Model.ImageSize) {
			gotorch.Scope(func() { list = append(list, newBenchProduct(p, e)) })
		}
		b.microbatches = append(b.microbatches, list)
	}
	b.graph = e.NewGraph(b.run)
	return b
}

func newBenchProduct(p model.Product, e *engine.Engine) benchProduct {
	dtype := gotorch.Float
	if p.Half {
		dtype = e.Dtype()
	}
	made := benchProduct{Product: p}
	leaf := func(x gotorch.Tensor, requiresGrad bool) gotorch.Tensor {
		x = x.CastTo(dtype).Detach().MoveOut()
		if requiresGrad {
			x.SetRequiresGrad(true)
			made.leaves = append(made.leaves, x)
		}
		return x
	}
	normal := func(shape []int64) gotorch.Tensor {
		x := gotorch.PhiloxNormal(e.Options().Device, gotorch.Float, gotorch.PhiloxKey{}, shape...)
		if len(shape) == 4 {
			x = x.ChannelsLast()
		}
		return x
	}
	other := func() gotorch.Tensor {
		if p.Transposed {
			return normal([]int64{p.Other[0], p.Other[2], p.Other[1]}).Permute([]int64{0, 2, 1})
		}
		return normal(p.Other)
	}
	made.input = leaf(normal(p.Input), !p.NoGradient)
	if p.Weight == nil {
		made.other = leaf(other(), true)
	} else {
		made.other, made.bias = leaf(weightOf(p), true), leaf(p.Bias.Tensor, true)
	}
	gotorch.NoGrad(func() {
		made.gradient = leaf(normal(made.forward().Shape()), false)
	})
	return made
}

// weightOf returns a product's weight in the shape of its operand: the weight of a 1x1
// Conv1d is a matrix.
func weightOf(p model.Product) gotorch.Tensor {
	if s := p.Weight.Shape; len(s) == 3 {
		return p.Weight.Tensor.View(s[0], s[1])
	}
	return p.Weight.Tensor
}

func (p *benchProduct) forward() gotorch.Tensor {
	switch {
	case p.Weight == nil:
		return gotorch.MatMul(p.input, p.other)
	case len(p.Input) == 4:
		return gotorch.Conv2d(p.input, p.other, p.bias, []int64{p.Stride}, []int64{p.Padding}, []int64{1}, 1)
	}
	return gotorch.Linear(p.input, p.other, p.bias)
}

// run computes the forward pass of all products of a step and then, from the last to the
// first, their gradients.
func (b *benchProducts) run() {
	for _, list := range b.microbatches {
		gotorch.Scope(func() {
			results := make([]gotorch.Tensor, len(list))
			for i := range list {
				results[i] = list[i].forward()
			}
			for i := len(list) - 1; i >= 0; i-- {
				results[i].BackwardWith(list[i].gradient)
				gotorch.ZeroGrads(list[i].leaves)
			}
		})
	}
}

func (b *benchProducts) free() {
	gotorch.Run(b.graph.Close)
	for _, list := range b.microbatches {
		for _, p := range list {
			for _, x := range []gotorch.Tensor{p.input, p.other, p.bias, p.gradient} {
				x.Free()
			}
		}
	}
}
