package gotorch

import "fmt"

// Optimizer updates parameters from their gradients. Copies share one state.
type Optimizer struct{ s *optimizerState }

type optimizerState struct {
	lr        float64
	lrFrom    Tensor // instead of lr, if defined
	params    []Tensor
	update    func(s *optimizerState, grads []Tensor)
	moments   [2][]Tensor // per parameter: momentum, or AdamW's expAvg and expAvgSq
	step      Tensor      // how many updates there were
	skip      Tensor      // of the update under way; see StepUnless
	gradScale Tensor      // see SetGradScale

	averages       []Average
	workingWeights []Tensor // see SetWorkingWeights
}

// AddParameters adds parameters, before the first step; each must be a leaf
// that requires a gradient.
func (opt Optimizer) AddParameters(tensors []Tensor) {
	opt.s.params = append(opt.s.params, tensors...)
}

// AddAverage lets every step move an average of the parameters, whose tensors
// stay the caller's. It is for Adam and AdamW.
func (opt Optimizer) AddAverage(a Average) { opt.s.averages = append(opt.s.averages, a) }

// SetWorkingWeights names a leaf in bfloat16 or float16 for each parameter that a network uses
// in place of it; undefined where it uses the parameter itself, nil where it always
// does. The gradient is then the copy's, in the copy's dtype, and every step writes the
// working weights again: nothing else casts weights or gradients. Where gradients are summed first,
// in a wider dtype, the sum is the parameter's gradient, and the copy has none. They stay
// the caller's. It is for Adam without weight decay and AdamW.
func (opt Optimizer) SetWorkingWeights(workingWeights []Tensor) {
	if workingWeights != nil {
		sameLength("Optimizer.SetWorkingWeights", opt.s.params, workingWeights)
	}
	opt.s.workingWeights = workingWeights
}

// ZeroGrad drops the gradients.
func (opt Optimizer) ZeroGrad() {
	ZeroGrads(opt.s.params)
	ZeroGrads(definedOf(opt.s.workingWeights))
}

func definedOf(tensors []Tensor) (defined []Tensor) {
	for _, t := range tensors {
		if t.Defined() {
			defined = append(defined, t)
		}
	}
	return defined
}

// Gradient returns the gradient of parameter i, or of its copy; undefined if there is none.
func (opt Optimizer) Gradient(i int) Tensor {
	g := opt.s.params[i].Grad()
	if opt.s.workingWeights == nil || !opt.s.workingWeights[i].Defined() {
		return g
	}
	switch of := opt.s.workingWeights[i].Grad(); {
	case !of.Defined():
		return g
	case g.Defined():
		panic(&Error{Op: "Optimizer.Gradient", Message: fmt.Sprintf("parameter %d has a gradient, and so has its copy: use one of them", i)})
	default:
		return of
	}
}

// Gradients returns the gradients that there are.
func (opt Optimizer) Gradients() (grads []Tensor) {
	for i := range opt.s.params {
		if g := opt.Gradient(i); g.Defined() {
			grads = append(grads, g)
		}
	}
	return grads
}

// SetLR sets the learning rate of the next steps.
func (opt Optimizer) SetLR(lr float64) { opt.s.lr, opt.s.lrFrom = lr, Tensor{} }

// SetLRFrom lets the next steps read their learning rate from a float64 tensor of
// one element where the parameters are, which stays the caller's: so a step in a
// [Graph] has another rate at every replay. It is for Adam and AdamW.
func (opt Optimizer) SetLRFrom(lr Tensor) {
	lr.defined("SetLRFrom")
	opt.s.lrFrom = lr
}

// SetGradScale lets the next steps take the gradients times gradScale, a float32 tensor of one
// element that stays the caller's; an undefined one is 1. It is for Adam without weight
// decay and AdamW.
func (opt Optimizer) SetGradScale(gradScale Tensor) { opt.s.gradScale = gradScale }

// Step updates every parameter; one without a gradient counts as having a zero
// gradient.
func (opt Optimizer) Step() {
	s := opt.s
	s.ensureState("Step")
	NoGrad(func() { Scope(func() { s.update(s, opt.gradsOrZeros()) }) })
}

// StepUnless is Step, except where skip, a float32 tensor of one element, is 1:
// there nothing changes, and the update does not count. The device decides: skip
// is not read back to the host. It is for Adam and AdamW.
func (opt Optimizer) StepUnless(skip Tensor) {
	const op = "StepUnless"
	skip.defined(op)
	opt.s.skip = skip
	defer func() { opt.s.skip = Tensor{} }()
	opt.Step()
}

// Close frees the state. The optimizer must not be used afterwards.
func (opt Optimizer) Close() {
	s := opt.s
	for _, list := range [][]Tensor{s.moments[0], s.moments[1], {s.step}} {
		for _, t := range list {
			t.Free()
		}
	}
	*s = optimizerState{}
}

// State returns the first and second moments of AdamW or Adam, per parameter,
// and the number of updates: all that a checkpoint needs. The tensors are the
// optimizer's own.
func (opt Optimizer) State() (expAvg, expAvgSq []Tensor, updates int64) {
	opt.s.ensureState("State")
	return opt.s.moments[0], opt.s.moments[1], int64(opt.s.step.Float64())
}

// SetState copies moments of AdamW or Adam into the optimizer.
func (opt Optimizer) SetState(expAvg, expAvgSq []Tensor, updates int64) {
	opt.s.ensureState("SetState")
	ForeachCopyI(opt.s.moments[0], expAvg)
	ForeachCopyI(opt.s.moments[1], expAvgSq)
	opt.s.step.FillI(float64(updates))
}

// ensureState makes zero moments at the first use. They outlive the scope that
// this use is in.
func (s *optimizerState) ensureState(op string) {
	if len(s.params) == 0 {
		panic(&Error{Op: op, Message: "the optimizer has no parameters: call AddParameters first"})
	}
	if s.step.Defined() {
		return
	}
	for _, p := range s.params {
		for k := range s.moments {
			s.moments[k] = append(s.moments[k], ZerosLike(p.Detach()).Unscoped())
		}
	}
	s.step = ZerosOn(s.params[0].Device(), Float).Unscoped()
}

func (opt Optimizer) gradsOrZeros() []Tensor {
	grads := make([]Tensor, len(opt.s.params))
	for i, p := range opt.s.params {
		if grads[i] = opt.Gradient(i); !grads[i].Defined() {
			grads[i] = ZerosLike(p.Detach())
		}
	}
	return grads
}

// AdamW returns an optimizer with decoupled weight decay (Loshchilov & Hutter
// 2019). Zero betas stand for 0.9 and 0.999, a zero eps for 1e-8.
func AdamW(o AdamWOptions) Optimizer {
	o = o.withDefaults()
	return Optimizer{&optimizerState{lr: o.LR, update: func(s *optimizerState, grads []Tensor) {
		FusedAdamWI(s.params, grads, s.moments[0], s.moments[1], s.step, s.fill(o))
	}}}
}

// Adam returns an optimizer whose weight decay is added to the gradient (Kingma
// & Ba 2015), with eps 1e-8.
func Adam(lr, beta1, beta2, weightDecay float64) Optimizer {
	return Optimizer{&optimizerState{lr: lr, update: func(s *optimizerState, grads []Tensor) {
		if weightDecay != 0 && (s.workingWeights != nil || s.gradScale.Defined()) {
			panic(&Error{Op: "Step", Message: "Adam's weight decay needs gradients as they are: without working weights and a gradient scale"})
		}
		decay(grads, s.params, weightDecay)
		FusedAdamWI(s.params, grads, s.moments[0], s.moments[1], s.step, s.fill(AdamWOptions{Beta1: beta1, Beta2: beta2, Eps: 1e-8}))
	}}}
}

// fill adds what has been set of the state.
func (s *optimizerState) fill(o AdamWOptions) AdamWOptions {
	o.LR, o.LRFrom, o.Skip, o.GradScale, o.Averages, o.WorkingWeights = s.lr, s.lrFrom, s.skip, s.gradScale, s.averages, s.workingWeights
	return o
}

// SGD returns stochastic gradient descent, with momentum if that is not 0.
func SGD(lr, momentum, dampening, weightDecay float64, nesterov bool) Optimizer {
	return Optimizer{&optimizerState{lr: lr, update: func(s *optimizerState, grads []Tensor) {
		if s.skip.Defined() {
			panic(&Error{Op: "StepUnless", Message: "SGD cannot skip an update: decide before Step"})
		}
		if len(s.averages) > 0 {
			panic(&Error{Op: "Step", Message: "SGD moves no averages: call ForeachLerpI"})
		}
		if s.lrFrom.Defined() {
			panic(&Error{Op: "Step", Message: "SGD takes its learning rate from the host: call SetLR"})
		}
		if s.gradScale.Defined() || s.workingWeights != nil {
			panic(&Error{Op: "Step", Message: "SGD takes gradients as they are: without working weights and a gradient scale"})
		}
		decay(grads, s.params, weightDecay)
		if momentum != 0 {
			gain := 1 - dampening
			if s.step.Float64() == 0 {
				gain = 1
			}
			buffers := s.moments[0]
			ForeachMulScalarI(buffers, momentum)
			ForeachAddI(buffers, grads, gain)
			for i, b := range buffers {
				if nesterov {
					b = grads[i].Add(b, float32(momentum))
				}
				grads[i] = b
			}
		}
		ForeachAddI(s.params, grads, -s.lr)
		s.step.AddScalarI(1)
	}}}
}

// decay replaces each gradient by itself plus weightDecay times its parameter.
func decay(grads, params []Tensor, weightDecay float64) {
	if weightDecay == 0 {
		return
	}
	for i, p := range params {
		grads[i] = grads[i].Add(p, float32(weightDecay))
	}
}

func (o AdamWOptions) withDefaults() AdamWOptions {
	if o.Beta1 == 0 {
		o.Beta1 = 0.9
	}
	if o.Beta2 == 0 {
		o.Beta2 = 0.999
	}
	if o.Eps == 0 {
		o.Eps = 1e-8
	}
	return o
}

// ClipGradNorm scales the gradients in place so that their total 2-norm is at
// most maxNorm (0: never), and returns the norm before, without reading
// anything back to the host.
func ClipGradNorm(grads []Tensor, maxNorm float64) Tensor {
	norm := TotalNorm(grads)
	if maxNorm > 0 {
		ForeachMulI(grads, ClipCoefficient(norm, maxNorm))
	}
	return norm
}

// ClipCoefficient returns by what gradients of a total 2-norm are to be multiplied so that
// it is at most maxNorm; see [Optimizer.SetGradScale].
func ClipCoefficient(norm Tensor, maxNorm float64) Tensor {
	return norm.AddScalar(1e-6).PowScalar(-1).MulScalar(maxNorm).Clamp(0, 1)
}
