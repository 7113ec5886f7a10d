package train

import "github.com/wangkuiyi/gotorch"

// gradientSum adds up the gradients of a step's microbatches in float32, whatever a
// copy of a weight gathers them in: all parameters at once, where autograd would add
// one after the other, and in its order, so that the sum is the same to the bit.
type gradientSum struct {
	params    []gotorch.Tensor
	optimizer gotorch.Optimizer
	sums      []gotorch.Tensor // per parameter, undefined where there has been no gradient
}

func (t *Trainer) newGradientSum() *gradientSum {
	params := t.network.Tensors()
	return &gradientSum{params: params, optimizer: t.optimizer, sums: make([]gotorch.Tensor, len(params))}
}

// take moves the gradients of one microbatch to the sum.
func (s *gradientSum) take() {
	var sums, more []gotorch.Tensor // more is added to sums
	for i, g := range s.inFloat() {
		switch {
		case !g.Defined():
		case s.sums[i].Defined():
			sums, more = append(sums, s.sums[i]), append(more, g)
		default:
			s.sums[i] = g
		}
	}
	gotorch.ForeachAddI(sums, more, 1)
	s.optimizer.ZeroGrad()
}

// inFloat returns each parameter's gradient in float32.
func (s *gradientSum) inFloat() []gotorch.Tensor {
	grads := make([]gotorch.Tensor, len(s.params))
	var narrow []gotorch.Tensor
	var of []int // the parameters that narrow are of
	for i := range s.params {
		grads[i] = s.optimizer.Gradient(i)
		if grads[i].Defined() && grads[i].Dtype() != gotorch.Float {
			narrow, of = append(narrow, grads[i]), append(of, i)
		}
	}
	for k, g := range gotorch.ForeachCastTo(narrow, gotorch.Float) {
		grads[of[k]] = g
	}
	return grads
}

// giveBack puts the sum where the optimizer looks for it.
func (s *gradientSum) giveBack() {
	for i, p := range s.params {
		if s.sums[i].Defined() {
			p.SetGrad(s.sums[i])
		}
	}
}
