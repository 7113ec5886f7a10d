package model

import "github.com/wangkuiyi/gotorch"

// Tape records one forward pass for gradient checkpointing (Chen et al. 2016):
// the residual and attention blocks run without a graph, and only their inputs
// and outputs are kept. Each of these is a leaf, so the graph is cut there; the
// backward pass walks the tape in Go, block by block from the end, computes
// each block again, and goes back from the gradient that its output's leaf has
// gathered. libtorch never calls back into Go.
type Tape struct{ cuts []cut }

// cut is a place where the graph was cut.
type cut struct {
	// again computes the value once more, with a graph.
	again func() gotorch.Tensor
	// leaf stands for the value in the rest of the graph.
	leaf gotorch.Tensor
}

// leaf cuts the graph at t: what uses the leaf is separate from what made t. A
// nil tape cuts nothing.
func (tape *Tape) leaf(t gotorch.Tensor) gotorch.Tensor {
	if tape == nil || !t.RequiresGrad() {
		return t
	}
	return tape.record(t.Detach(), func() gotorch.Tensor { return t })
}

func (tape *Tape) record(value gotorch.Tensor, again func() gotorch.Tensor) gotorch.Tensor {
	value.SetRequiresGrad(true)
	tape.cuts = append(tape.cuts, cut{again: again, leaf: value})
	return value
}

// checkpoint runs f on inputs, which are leaves, without a graph and cuts there.
// A nil tape runs f as it is.
func (tape *Tape) checkpoint(f func(...gotorch.Tensor) gotorch.Tensor, inputs ...gotorch.Tensor) gotorch.Tensor {
	if tape == nil {
		return f(inputs...)
	}
	var out gotorch.Tensor
	gotorch.NoGrad(func() {
		gotorch.Scope(func() { out = f(inputs...).MoveOut() })
	})
	return tape.record(out, func() gotorch.Tensor { return f(inputs...) })
}

// Backward carries the gradients on from where the loss's own Backward left
// them: at the leaf of the last block. Dropout masks are drawn again from the
// same keys, so they are the same.
func (tape *Tape) Backward() {
	if tape == nil {
		return
	}
	for i := len(tape.cuts) - 1; i >= 0; i-- {
		c := tape.cuts[i]
		gotorch.Scope(func() {
			gradient := c.leaf.Grad()
			if !gradient.Defined() {
				return
			}
			c.leaf.SetGrad(gotorch.Tensor{})
			c.again().BackwardWith(gradient)
		})
	}
	tape.cuts = nil
}
