package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

// SetRequiresGrad sets whether gradients with respect to t are recorded.
func (t Tensor) SetRequiresGrad(on bool) {
	check("SetRequiresGrad", C.gt_requires_grad_(t.defined("SetRequiresGrad"), cBool(on)))
	runtime.KeepAlive(t.owner)
}

// RequiresGrad reports whether gradients with respect to t are recorded.
func (t Tensor) RequiresGrad() bool {
	y := C.gt_requires_grad(t.defined("RequiresGrad"))
	runtime.KeepAlive(t.owner)
	return y != 0
}

// Detach returns t's elements, outside the graph of gradients.
func (t Tensor) Detach() Tensor {
	r := C.gt_detach(t.defined("Detach"))
	runtime.KeepAlive(t.owner)
	return take("Detach", r)
}

// KeepGradLayout has backward passes lay the gradient of t out as t is, which they do by
// themselves only where t is a leaf. What follows from a gradient may depend on its
// layout, in the last bits. It changes nothing where no gradients are recorded.
func (t Tensor) KeepGradLayout() {
	check("KeepGradLayout", C.gt_keep_grad_layout(t.defined("KeepGradLayout")))
	runtime.KeepAlive(t.owner)
}

// Grad returns the gradient that the backward passes have gathered in the leaf
// t, or the undefined tensor.
func (t Tensor) Grad() Tensor {
	r := C.gt_grad(t.defined("Grad"))
	runtime.KeepAlive(t.owner)
	return take("Grad", r)
}

// SetGrad replaces t's gradient; the undefined tensor clears it.
func (t Tensor) SetGrad(g Tensor) {
	check("SetGrad", C.gt_set_grad(t.defined("SetGrad"), g.optional("SetGrad")))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(g.owner)
}

// Backward adds the gradients of the scalar t to the leaves it came from.
func (t Tensor) Backward() { t.BackwardWith(Tensor{}) }

// BackwardWith goes back from t, whose own gradient is the one given, shaped
// as t; the undefined tensor stands for 1.
func (t Tensor) BackwardWith(gradient Tensor) {
	check("Backward", C.gt_backward(t.defined("Backward"), gradient.optional("BackwardWith"), 0))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(gradient.owner)
}

// BackwardAll goes back from several tensors at once, each with its own gradient, shaped as
// it is. There may be no tensors.
func BackwardAll(tensors, gradients []Tensor) {
	const op = "BackwardAll"
	sameLength(op, tensors, gradients)
	p, n := cList(op, tensors)
	g, _ := cList(op, gradients)
	if n == 0 {
		return
	}
	check(op, C.gt_backward_all(p, g, n))
	runtime.KeepAlive(tensors)
	runtime.KeepAlive(gradients)
}

// ZeroGrads drops the gradients of all params, so that the next backward pass
// starts afresh without a memset.
func ZeroGrads(params []Tensor) {
	p, n := cList("ZeroGrads", params)
	check("ZeroGrads", C.gt_zero_grads(p, n))
	runtime.KeepAlive(params)
}
