package gotorch

import "fmt"

// Optimizer is [AdamW]: it updates parameters from their gradients. Copies share one state.
type Optimizer struct{ s *optimizerState }

type optimizerState struct {
	options AdamWOptions // Skip is that of the current update
	params  []Tensor
	moments [2][]Tensor // per parameter: expAvg and expAvgSq
	step    Tensor      // number of updates
}

// AddParameters adds parameters, before the first step; each must be a leaf
// that requires a gradient.
func (opt Optimizer) AddParameters(tensors []Tensor) {
	opt.s.params = append(opt.s.params, tensors...)
}

// AddEMA updates e in every step. The caller keeps ownership of its tensors.
func (opt Optimizer) AddEMA(e EMA) { opt.s.options.EMAs = append(opt.s.options.EMAs, e) }

// SetWorkingWeights sets the bfloat16 or float16 leaves that the network uses in place of the
// float32 parameters: undefined where it uses the parameter itself, nil for none at all. Every
// step reads the gradient of the working weight and rewrites the working weight from the
// parameter, so nothing else casts weights or gradients. If gradients are accumulated in
// float32, that sum is the parameter's gradient, and the working weight must have none. The
// caller keeps ownership.
func (opt Optimizer) SetWorkingWeights(workingWeights []Tensor) {
	if workingWeights != nil {
		sameLength("Optimizer.SetWorkingWeights", opt.s.params, workingWeights)
	}
	opt.s.options.WorkingWeights = workingWeights
}

// ZeroGrad sets the gradients of parameters and working weights to undefined.
func (opt Optimizer) ZeroGrad() {
	ZeroGrads(opt.s.params)
	ZeroGrads(definedOf(opt.s.options.WorkingWeights))
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
	if opt.s.options.WorkingWeights == nil || !opt.s.options.WorkingWeights[i].Defined() {
		return g
	}
	switch of := opt.s.options.WorkingWeights[i].Grad(); {
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

// SetLRFrom makes later steps read the learning rate from a float64 tensor of one
// element on the parameters' device, so that each replay of a [Graph] can use another
// rate. The caller keeps ownership.
func (opt Optimizer) SetLRFrom(lr Tensor) {
	lr.defined("SetLRFrom")
	opt.s.options.LRFrom = lr
}

// SetGradScale makes later steps multiply the gradients by gradScale, a float32 tensor of one
// element; undefined: 1. The caller keeps ownership.
func (opt Optimizer) SetGradScale(gradScale Tensor) { opt.s.options.GradScale = gradScale }

// Step updates every parameter; a missing gradient counts as zero.
func (opt Optimizer) Step() {
	s := opt.s
	s.ensureState("Step")
	NoGrad(func() {
		Scope(func() { fusedAdamW(s.params, opt.gradsOrZeros(), s.moments[0], s.moments[1], s.step, s.options) })
	})
}

// StepUnless is Step if skip, a float32 tensor of one element, is 0. If it is 1,
// nothing changes and the update is not counted. The device reads skip; the host does
// not wait for it.
func (opt Optimizer) StepUnless(skip Tensor) {
	const op = "StepUnless"
	skip.defined(op)
	opt.s.options.Skip = skip
	defer func() { opt.s.options.Skip = Tensor{} }()
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

// State returns the state for a checkpoint: the first and second
// moments per parameter, and the number of updates. The optimizer keeps ownership.
func (opt Optimizer) State() (expAvg, expAvgSq []Tensor, updates int64) {
	opt.s.ensureState("State")
	return opt.s.moments[0], opt.s.moments[1], int64(opt.s.step.Float64())
}

// SetState copies moments into the optimizer.
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
func AdamW(o AdamWOptions) Optimizer { return Optimizer{&optimizerState{options: o.withDefaults()}} }

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

// ClipCoefficient returns the factor that clips gradients of this total 2-norm to maxNorm;
// see [Optimizer.SetGradScale].
func ClipCoefficient(norm Tensor, maxNorm float64) Tensor {
	return norm.AddScalar(1e-6).PowScalar(-1).MulScalar(maxNorm).Clamp(0, 1)
}
