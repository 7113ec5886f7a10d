package engine

import (
	"slices"

	"github.com/wangkuiyi/gotorch"

	"iddpm/model"
)

// AllFinite is Diagnose's result if it finds no non-finite number.
const AllFinite = "all activations and each weight's gradient are finite now"

// Diagnose evaluates the network again on the batch of the last step, which is still in the
// step's input tensors, and names the first weight, layer or gradient that is not finite.
func (e *Engine) Diagnose() (where string) {
	for _, p := range e.network.Parameters() {
		if !Finite(p.Tensor.Detach()) {
			return "the weights " + p.Name + " are not finite"
		}
	}
	gotorch.NoGrad(func() { gotorch.Scope(func() { where = e.firstNonFiniteBlock() }) })
	if where != "" {
		return "the first layer whose activations are not finite is " + where
	}
	for i, p := range slices.Backward(e.network.Parameters()) {
		if g := e.optimizer.Gradient(i); g.Defined() && !Finite(g) {
			return "all activations are finite, but the gradient of " + p.Name + " is not"
		}
	}
	return AllFinite
}

// firstNonFiniteBlock returns the name of the first block whose activations are not finite,
// or "the loss", or "".
func (e *Engine) firstNonFiniteBlock() (where string) {
	note := func(block string, h gotorch.Tensor) {
		if where == "" && !Finite(h) {
			where = block
		}
	}
	in := e.work.inputs()
	for _, m := range in.whole.split(e.options.Microbatch) {
		dropout := e.key(in, m, 0)
		note("the loss", e.losses(in, m, model.Input{Dtype: e.precision.Dtype, Dropout: &dropout, Watch: note}).Loss)
		if where != "" {
			break
		}
	}
	return where
}

// Finite reports whether no element of x, of any shape, is infinite or NaN. It waits
// for the device.
func Finite(x gotorch.Tensor) (ok bool) {
	gotorch.NoGrad(func() {
		gotorch.Scope(func() { ok = x.CastTo(gotorch.Float).MulScalar(0).Sum().Float64() == 0 })
	})
	return ok
}
