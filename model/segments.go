package model

import "github.com/wangkuiyi/gotorch"

// Segments runs the backward pass of one forward pass in segments. Each residual and
// attention block is a segment: its output is a detached leaf, and the backward pass goes
// segment by segment from the last, from the gradient that the leaf has accumulated. Go
// drives it; libtorch never calls back into Go.
//
// The zero Segments is gradient checkpointing (Chen et al. 2016): the forward pass keeps
// only the inputs and outputs of blocks, and the backward pass recomputes each block.
type Segments struct {
	// RetainGraph keeps the activations, so that nothing is recomputed: for callers that
	// need to know when the gradients of a segment are complete.
	RetainGraph bool

	list []segment
}

// segment is one part of the autograd graph.
type segment struct {
	// recompute returns the segment's outputs with their graph, recomputed if necessary.
	recompute func() []gotorch.Tensor
	// leaves are the detached outputs, which the next segments use.
	leaves []gotorch.Tensor
}

// recomputes reports whether the backward pass recomputes blocks. A nil s does not.
func (s *Segments) recomputes() bool { return s != nil && !s.RetainGraph }

// leaf ends a segment at t and returns its detached leaf. A nil s returns t and fixes the
// memory layout of its gradient to a leaf's: so gradients are the same with and without
// segments, to the bit.
func (s *Segments) leaf(t gotorch.Tensor) gotorch.Tensor { return s.leaves(t)[0] }

// leaves is leaf for several outputs of one segment.
func (s *Segments) leaves(outputs ...gotorch.Tensor) []gotorch.Tensor {
	if !outputs[0].RequiresGrad() {
		return outputs
	}
	if s == nil {
		for _, t := range outputs {
			t.KeepGradLayout()
		}
		return outputs
	}
	detached := make([]gotorch.Tensor, len(outputs))
	for i, t := range outputs {
		detached[i] = t.Detach()
	}
	return s.add(detached, func() []gotorch.Tensor { return outputs })
}

func (s *Segments) add(detached []gotorch.Tensor, recompute func() []gotorch.Tensor) []gotorch.Tensor {
	for _, t := range detached {
		t.SetRequiresGrad(true)
	}
	s.list = append(s.list, segment{recompute: recompute, leaves: detached})
	return detached
}

// checkpoint runs f on inputs, which are leaves, as a segment, without a graph unless s
// retains graphs. A nil s runs f in the surrounding graph.
func (s *Segments) checkpoint(f func(...gotorch.Tensor) gotorch.Tensor, inputs ...gotorch.Tensor) gotorch.Tensor {
	if !s.recomputes() {
		return s.leaf(f(inputs...))
	}
	var out gotorch.Tensor
	gotorch.NoGrad(func() {
		gotorch.Scope(func() { out = f(inputs...).MoveOut() })
	})
	return s.add([]gotorch.Tensor{out}, func() []gotorch.Tensor { return []gotorch.Tensor{f(inputs...)} })[0]
}

// Backward continues the backward pass where the loss's own Backward ended, at the leaf of
// the last segment. Recomputed dropout masks are the same, since their keys are. After each
// segment it calls onSegmentDone, if not nil: all gradients that parameters have at that
// point are complete.
func (s *Segments) Backward(onSegmentDone func()) {
	if s == nil {
		return
	}
	for i := len(s.list) - 1; i >= 0; i-- {
		gotorch.Scope(s.list[i].backward)
		if onSegmentDone != nil {
			onSegmentDone()
		}
	}
	s.list = nil
}

// backward propagates the gradients of the leaves that have one.
func (s segment) backward() {
	gradients, any := make([]gotorch.Tensor, len(s.leaves)), false
	for i, leaf := range s.leaves {
		gradients[i] = leaf.Grad()
		any = any || gradients[i].Defined()
		leaf.SetGrad(gotorch.Tensor{})
	}
	if !any {
		return
	}
	var outputs, outputGrads []gotorch.Tensor
	for i, t := range s.recompute() {
		if gradients[i].Defined() {
			outputs, outputGrads = append(outputs, t), append(outputGrads, gradients[i])
		}
	}
	gotorch.BackwardAll(outputs, outputGrads)
}
