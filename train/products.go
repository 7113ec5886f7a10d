package train

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/model"
)

// benchProducts are the convolutions and matrix products of a training step
// alone, as plain calls of libtorch on tensors of their own: what a step comes
// down to if all else cost nothing. They have the shapes, dtype and memory layout
// that they have in the network, in its plain form (see model.Product): nothing
// is folded, and nothing computed again for gradient checkpointing.
//
// A GPU records them, as it does the step: else their share would be the better,
// the longer the host takes to launch them.
type benchProducts struct {
	microbatches [][]benchProduct
	graph        *gotorch.Graph
}

// benchProduct is one product with its tensors.
type benchProduct struct {
	model.Product
	input, other, bias gotorch.Tensor // other is the weight, or the second of two activations
	gradient           gotorch.Tensor // of the result
	leaves             []gotorch.Tensor
}

// newBenchProducts makes the tensors.
func newBenchProducts(t *Trainer) *benchProducts {
	b := new(benchProducts)
	size, total := t.config.Train.microbatch(), t.config.Train.BatchSize
	for first := 0; first < total; first += size {
		var list []benchProduct
		for _, p := range t.network.Products(min(size, total-first), t.config.Model.ImageSize) {
			gotorch.Scope(func() { list = append(list, newBenchProduct(p, t)) })
		}
		b.microbatches = append(b.microbatches, list)
	}
	b.graph = t.newGraph(b.run)
	return b
}

func newBenchProduct(p model.Product, t *Trainer) benchProduct {
	dtype := gotorch.Float
	if p.Half {
		dtype = t.precision.dtype
	}
	made := benchProduct{Product: p}
	leaf := func(x gotorch.Tensor, learns bool) gotorch.Tensor {
		x = x.CastTo(dtype).Detach().MoveOut()
		if learns {
			x.SetRequiresGrad(true)
			made.leaves = append(made.leaves, x)
		}
		return x
	}
	draw := func(shape []int64) gotorch.Tensor {
		x := gotorch.PhiloxNormal(t.device, gotorch.Float, gotorch.PhiloxKey{}, shape...)
		if len(shape) == 4 {
			x = x.ChannelsLast()
		}
		return x
	}
	other := func() gotorch.Tensor {
		if p.Transposed {
			return draw([]int64{p.Other[0], p.Other[2], p.Other[1]}).Permute([]int64{0, 2, 1})
		}
		return draw(p.Other)
	}
	made.input = leaf(draw(p.Input), !p.NoGradient)
	if p.Weight == nil {
		made.other = leaf(other(), true)
	} else {
		made.other, made.bias = leaf(weightOf(p), true), leaf(p.Bias.Tensor, true)
	}
	gotorch.NoGrad(func() {
		made.gradient = leaf(draw(made.forward().Shape()), false)
	})
	return made
}

// weightOf returns a product's weight as the product takes it: that of a
// convolution over a sequence, as a matrix.
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

// run computes all products of a step forward, and then, from the last to the
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
