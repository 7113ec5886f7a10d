package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

// SetRequiresGrad sets whether autograd tracks gradients with respect to t.
func (t Tensor) SetRequiresGrad(on bool) {
	check("SetRequiresGrad", C.gt_requires_grad_(t.defined("SetRequiresGrad"), cBool(on)))
	runtime.KeepAlive(t.owner)
}

// RequiresGrad reports whether autograd tracks gradients with respect to t.
func (t Tensor) RequiresGrad() bool {
	y := C.gt_requires_grad(t.defined("RequiresGrad"))
	runtime.KeepAlive(t.owner)
	return y != 0
}

// Detach returns a view of t that is not part of the autograd graph.
func (t Tensor) Detach() Tensor {
	r := C.gt_detach(t.defined("Detach"))
	runtime.KeepAlive(t.owner)
	return resultOf("Detach", r)
}

// KeepGradLayout gives the gradient of t the memory layout of t in every backward pass.
// Autograd guarantees this only for leaves. The layout of a gradient can change the last
// bits of what is computed from it. It has no effect if gradients are not tracked.
func (t Tensor) KeepGradLayout() {
	check("KeepGradLayout", C.gt_keep_grad_layout(t.defined("KeepGradLayout")))
	runtime.KeepAlive(t.owner)
}

// Grad returns the gradient that backward passes have accumulated in the leaf t,
// or the undefined tensor.
func (t Tensor) Grad() Tensor {
	r := C.gt_grad(t.defined("Grad"))
	runtime.KeepAlive(t.owner)
	return resultOf("Grad", r)
}

// SetGrad replaces t's gradient; the undefined tensor clears it.
func (t Tensor) SetGrad(g Tensor) {
	check("SetGrad", C.gt_set_grad(t.defined("SetGrad"), g.optional("SetGrad")))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(g.owner)
}

// Backward runs the backward pass from the scalar t and accumulates gradients in
// the leaves.
func (t Tensor) Backward() { t.BackwardWith(Tensor{}) }

// BackwardWith runs the backward pass from t with the given gradient of t, which
// has t's shape. The undefined tensor stands for 1.
func (t Tensor) BackwardWith(gradient Tensor) {
	check("Backward", C.gt_backward(t.defined("Backward"), gradient.optional("BackwardWith"), 0))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(gradient.owner)
}

// BackwardAll runs one backward pass from several tensors. gradients[i] is the gradient of
// tensors[i], of the same shape. The lists may be empty.
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

// ZeroGrads sets the gradients of all params to undefined. The next backward pass
// then writes its gradients without a memset or an addition.
func ZeroGrads(params []Tensor) {
	p, n := cList("ZeroGrads", params)
	check("ZeroGrads", C.gt_zero_grads(p, n))
	runtime.KeepAlive(params)
}
