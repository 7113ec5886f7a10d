package gotorch

import "fmt"

// Optimizer updates parameters from their gradients. Copies share one state.
type Optimizer struct{ s *optimizerState }

type optimizerState struct {
	lr        float64
	lrFrom    Tensor // replaces lr if defined
	params    []Tensor
	update    func(s *optimizerState, grads []Tensor)
	moments   [2][]Tensor // per parameter: momentum, or AdamW's expAvg and expAvgSq
	step      Tensor      // number of updates
	skip      Tensor      // of the current update; see StepUnless
	gradScale Tensor      // see SetGradScale

	emas           []EMA
	workingWeights []Tensor // see SetWorkingWeights
}

// AddParameters adds parameters, before the first step; each must be a leaf
// that requires a gradient.
func (opt Optimizer) AddParameters(tensors []Tensor) {
	opt.s.params = append(opt.s.params, tensors...)
}

// AddEMA updates e in every step. The caller keeps ownership of its tensors. It is
// for Adam and AdamW.
func (opt Optimizer) AddEMA(e EMA) { opt.s.emas = append(opt.s.emas, e) }

// SetWorkingWeights sets the bfloat16 or float16 leaves that the network uses in place of the
// float32 parameters: undefined where it uses the parameter itself, nil for none at all. Every
// step reads the gradient of the working weight and rewrites the working weight from the
// parameter, so nothing else casts weights or gradients. If gradients are accumulated in
// float32, that sum is the parameter's gradient, and the working weight must have none. The
// caller keeps ownership. It is for AdamW, and for Adam without weight decay.
func (opt Optimizer) SetWorkingWeights(workingWeights []Tensor) {
	if workingWeights != nil {
		sameLength("Optimizer.SetWorkingWeights", opt.s.params, workingWeights)
	}
	opt.s.workingWeights = workingWeights
}

// ZeroGrad sets the gradients of parameters and working weights to undefined.
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

// Gradient returns the gradient of parameter i, or of its working weight; undefined if neither
// has one.
func (opt Optimizer) Gradient(i int) Tensor {
	g := opt.s.params[i].Grad()
	if opt.s.workingWeights == nil || !opt.s.workingWeights[i].Defined() {
		return g
	}
	switch of := opt.s.workingWeights[i].Grad(); {
	case !of.Defined():
		return g
	case g.Defined():
		panic(&Error{Op: "Optimizer.Gradient", Message: fmt.Sprintf("parameter %d and its working weight both have a gradient: clear one of them", i)})
	default:
		return of
	}
}

// Gradients returns all defined gradients.
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

// SetLRFrom makes later steps read the learning rate from a float64 tensor of one
// element on the parameters' device, so that each replay of a [Graph] can use another
// rate. The caller keeps ownership. It is for Adam and AdamW.
func (opt Optimizer) SetLRFrom(lr Tensor) {
	lr.defined("SetLRFrom")
	opt.s.lrFrom = lr
}

// SetGradScale makes later steps multiply the gradients by gradScale, a float32 tensor of one
// element; undefined: 1. The caller keeps ownership. It is for AdamW, and for Adam without
// weight decay.
func (opt Optimizer) SetGradScale(gradScale Tensor) { opt.s.gradScale = gradScale }

// Step updates every parameter; a missing gradient counts as zero.
func (opt Optimizer) Step() {
	s := opt.s
	s.ensureState("Step")
	NoGrad(func() { Scope(func() { s.update(s, opt.gradsOrZeros()) }) })
}

// StepUnless is Step if skip, a float32 tensor of one element, is 0. If it is 1,
// nothing changes and the update is not counted. The device reads skip; the host does
// not wait for it. It is for Adam and AdamW.
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

// State returns the state of AdamW or Adam for a checkpoint: the first and second
// moments per parameter, and the number of updates. The optimizer keeps ownership.
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

// ensureState allocates zero moments at the first use, outside the current scope.
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
			panic(&Error{Op: "Step", Message: "Adam with weight decay supports neither working weights nor a gradient scale"})
		}
		decay(grads, s.params, weightDecay)
		FusedAdamWI(s.params, grads, s.moments[0], s.moments[1], s.step, s.fill(AdamWOptions{Beta1: beta1, Beta2: beta2, Eps: 1e-8}))
	}}}
}

// fill copies what the setters have set into o.
func (s *optimizerState) fill(o AdamWOptions) AdamWOptions {
	o.LR, o.LRFrom, o.Skip, o.GradScale, o.EMAs, o.WorkingWeights = s.lr, s.lrFrom, s.skip, s.gradScale, s.emas, s.workingWeights
	return o
}

// SGD returns stochastic gradient descent, with momentum if that is not 0.
func SGD(lr, momentum, dampening, weightDecay float64, nesterov bool) Optimizer {
	return Optimizer{&optimizerState{lr: lr, update: func(s *optimizerState, grads []Tensor) {
		if s.skip.Defined() {
			panic(&Error{Op: "StepUnless", Message: "SGD cannot skip an update: decide before Step"})
		}
		if len(s.emas) > 0 {
			panic(&Error{Op: "Step", Message: "SGD updates no EMA weights: call ForeachLerpI"})
		}
		if s.lrFrom.Defined() {
			panic(&Error{Op: "Step", Message: "SGD reads its learning rate from the host: call SetLR"})
		}
		if s.gradScale.Defined() || s.workingWeights != nil {
			panic(&Error{Op: "Step", Message: "SGD supports neither working weights nor a gradient scale"})
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

// ClipGradNorm scales the gradients in place so that their total 2-norm is at most
// maxNorm (0: no clipping), and returns the norm before clipping. The host does not
// wait for the device.
func ClipGradNorm(grads []Tensor, maxNorm float64) Tensor {
	norm := TotalNorm(grads)
	if maxNorm > 0 {
		ForeachMulI(grads, ClipCoefficient(norm, maxNorm))
	}
	return norm
}

// ClipCoefficient returns the factor that clips gradients of this total 2-norm to maxNorm;
// see [Optimizer.SetGradScale].
func ClipCoefficient(norm Tensor, maxNorm float64) Tensor {
	return norm.AddScalar(1e-6).PowScalar(-1).MulScalar(maxNorm).Clamp(0, 1)
}
