package model

import "github.com/wangkuiyi/gotorch"

// Tape records one forward pass whose way back is walked in parts. The residual and
// attention blocks are cut out of the graph of gradients: what comes out of each is a
// leaf, and the way back goes block by block from the end, from the gradient that
// the block's leaf has gathered. Go drives it; libtorch never calls back into Go.
//
// The zero Tape is gradient checkpointing (Chen et al. 2016): blocks run without a
// graph, only their inputs and outputs are kept, and on the way back each block is
// computed again.
type Tape struct {
	// KeepsGraphs has blocks keep what their way back needs, so that nothing is computed
	// again: for who wants to know when the gradients of a part are there.
	KeepsGraphs bool

	cuts []cut
}

// cut is a place where the graph was cut.
type cut struct {
	// again computes the values once more, with a graph, or returns those that have one.
	again func() []gotorch.Tensor
	// leaves stand for the values in the rest of the graph.
	leaves []gotorch.Tensor
}

// recomputes reports whether blocks are computed again. A nil tape does not.
func (tape *Tape) recomputes() bool { return tape != nil && !tape.KeepsGraphs }

// leaf cuts the graph at t: what uses the leaf is separate from what made t. A
// nil tape cuts nothing.
func (tape *Tape) leaf(t gotorch.Tensor) gotorch.Tensor { return tape.leaves(t)[0] }

// leaves is leaf of several tensors that are made together.
func (tape *Tape) leaves(made ...gotorch.Tensor) []gotorch.Tensor {
	if tape == nil || !made[0].RequiresGrad() {
		return made
	}
	values := make([]gotorch.Tensor, len(made))
	for i, t := range made {
		values[i] = t.Detach()
	}
	return tape.record(values, func() []gotorch.Tensor { return made })
}

func (tape *Tape) record(values []gotorch.Tensor, again func() []gotorch.Tensor) []gotorch.Tensor {
	for _, v := range values {
		v.SetRequiresGrad(true)
	}
	tape.cuts = append(tape.cuts, cut{again: again, leaves: values})
	return values
}

// checkpoint runs f on inputs, which are leaves, and cuts there. Unless the tape
// keeps graphs, f runs without one. A nil tape runs f as it is.
func (tape *Tape) checkpoint(f func(...gotorch.Tensor) gotorch.Tensor, inputs ...gotorch.Tensor) gotorch.Tensor {
	if !tape.recomputes() {
		return tape.leaf(f(inputs...))
	}
	var out gotorch.Tensor
	gotorch.NoGrad(func() {
		gotorch.Scope(func() { out = f(inputs...).MoveOut() })
	})
	return tape.record([]gotorch.Tensor{out}, func() []gotorch.Tensor { return []gotorch.Tensor{f(inputs...)} })[0]
}

// Backward carries the gradients on from where the loss's own Backward left
// them: at the leaf of the last block. Dropout masks are drawn again from the
// same keys, so they are the same. reached, if not nil, is called after every part: a
// parameter that has a gradient then gets no more of it.
func (tape *Tape) Backward(reached func()) {
	if tape == nil {
		return
	}
	for i := len(tape.cuts) - 1; i >= 0; i-- {
		gotorch.Scope(tape.cuts[i].backward)
		if reached != nil {
			reached()
		}
	}
	tape.cuts = nil
}

// backward goes back from the leaves that have a gradient.
func (c cut) backward() {
	gradients, any := make([]gotorch.Tensor, len(c.leaves)), false
	for i, leaf := range c.leaves {
		gradients[i] = leaf.Grad()
		any = any || gradients[i].Defined()
		leaf.SetGrad(gotorch.Tensor{})
	}
	if !any {
		return
	}
	var from, with []gotorch.Tensor
	for i, t := range c.again() {
		if gradients[i].Defined() {
			from, with = append(from, t), append(with, gradients[i])
		}
	}
	gotorch.BackwardAll(from, with)
}
