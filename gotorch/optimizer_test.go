package gotorch

import (
	"math"
	"testing"
)

// descend runs steps on the loss sum(c p^2) + 0.1 (k + 1) sum(p), k counting from 0.
// The values of PyTorch below are for this loss.
func descend(opt Optimizer, p Tensor, from, steps int) {
	c := FromFloat64s([]float64{1, 2, 0.5})
	for k := from; k < from+steps; k++ {
		Scope(func() {
			opt.ZeroGrad()
			p.Mul(p).Mul(c).Sum().Add(p.MulScalar(float64(k+1)*0.1).Sum(), 1).Backward()
			opt.Step()
		})
	}
}

func startingPoint() Tensor {
	p := FromFloat64s([]float64{1, -2, 3})
	p.SetRequiresGrad(true)
	return p
}

// TestAdamWAgainstTorch compares four steps in float64 with torch.optim.
func TestAdamWAgainstTorch(t *testing.T) {
	p, opt := startingPoint(), AdamW(AdamWOptions{LR: 0.1, Beta1: 0.8, Beta2: 0.95, Eps: 1e-6, WeightDecay: 0.2})
	defer opt.Close()
	opt.AddParameters([]Tensor{p})
	descend(opt, p, 0, 4)
	checkValues(t, p, []float64{0.5372950714864526, -1.4608091061798887, 2.3796736281153574}, 1e-12)
}

// TestAdamWByHand follows Algorithm 2 of Loshchilov & Hutter (2019) in float64.
func TestAdamWByHand(t *testing.T) {
	o := AdamWOptions{LR: 0.05, WeightDecay: 0.1} // default betas and eps
	opt := AdamW(o)
	p := FromFloat64s([]float64{1})
	p.SetRequiresGrad(true)
	opt.AddParameters([]Tensor{p})
	x, m, v := 1.0, 0.0, 0.0
	for k := 1; k <= 5; k++ {
		opt.ZeroGrad()
		p.PowScalar(3).Sum().Backward()
		opt.Step()
		g := 3 * x * x
		x -= o.LR * o.WeightDecay * x
		m = 0.9*m + 0.1*g
		v = 0.999*v + 0.001*g*g
		x -= o.LR * (m / (1 - math.Pow(0.9, float64(k)))) / (math.Sqrt(v/(1-math.Pow(0.999, float64(k)))) + 1e-8)
		checkValues(t, p, []float64{x}, 1e-12)
		mean, square, updates := opt.State()
		checkValues(t, mean[0], []float64{m}, 1e-12)
		checkValues(t, square[0], []float64{v}, 1e-12)
		if updates != int64(k) {
			t.Errorf("%d updates, want %d", updates, k)
		}
	}
	opt.Close()
}

// TestOptimizerResumes stops after three steps, copies the state to a new optimizer,
// and must end with the parameters of an uninterrupted run, bit for bit.
func TestOptimizerResumes(t *testing.T) {
	start := func(p Tensor) Optimizer {
		opt := AdamW(AdamWOptions{LR: 0.1, WeightDecay: 0.01})
		opt.AddParameters([]Tensor{p})
		return opt
	}
	whole := startingPoint()
	descend(start(whole), whole, 0, 7)

	part := startingPoint()
	before := start(part)
	descend(before, part, 0, 3)
	first, second, updates := before.State()
	after := start(part)
	after.SetState(first, second, updates)
	before.Close() // SetState copied
	descend(after, part, 3, 4)
	if !Equal(whole, part) {
		t.Errorf("resumed %v, uninterrupted %v", part.Float64s(), whole.Float64s())
	}
}

// TestStateOutlivesItsScope allocates the state inside a scope.
func TestStateOutlivesItsScope(t *testing.T) {
	checkLive(t)
	opt := AdamW(AdamWOptions{LR: 0.1})
	var p Tensor
	Scope(func() { p = startingPoint().MoveOut() })
	opt.AddParameters([]Tensor{p})
	Scope(func() { Scope(func() { descend(opt, p, 0, 1) }) })
	if _, _, n := opt.State(); n != 1 {
		t.Errorf("%d updates", n)
	}
	opt.Close()
	p.Free()
}

// TestAdamWLayouts uses gradients with other memory layouts than their parameters:
// each element must update its own weight.
func TestAdamWLayouts(t *testing.T) {
	Scope(func() {
		values := ArangeOn(Device{}, Float, 1, 1+2*3*2*2, 1).View(2, 3, 2, 2)
		update := func(param, grad Tensor) []float32 {
			state := func() []Tensor { return []Tensor{ZerosLike(param)} }
			fusedAdamW([]Tensor{param}, []Tensor{grad}, state(), state(), full(0),
				AdamWOptions{LR: 0.5, Beta1: 0.5, Beta2: 0.5, Eps: 10})
			return param.Float32s()
		}
		want := update(values.Clone(), values)
		for name, got := range map[string][]float32{
			"channels-last gradient":  update(values.Clone(), values.ChannelsLast()),
			"channels-last parameter": update(values.ChannelsLast(), values),
			"both":                    update(values.ChannelsLast(), values.ChannelsLast()),
			"permuted gradient":       update(values.Clone(), values.Permute([]int64{3, 2, 1, 0}).Contiguous().Permute([]int64{3, 2, 1, 0})),
		} {
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("%s: weight %d became %v, want %v", name, i, got[i], want[i])
				}
			}
		}
		gaps := zeros(2, 2).Narrow(1, 0, 1)
		if err := Try(func() { update(gaps, zeros(2, 1)) }); err == nil {
			t.Error("a parameter with gaps in memory was updated")
		}
	})
}

// TestFailedStepDoesNotCount checks the state after an update that fails.
func TestFailedStepDoesNotCount(t *testing.T) {
	p, m, v, step := one(), one(), one(), full(4)
	mustFail(t, func() {
		fusedAdamW([]Tensor{p}, []Tensor{zeros(2)}, []Tensor{m}, []Tensor{v}, step, AdamWOptions{LR: 1})
	})
	checkValues(t, Cat([]Tensor{p, m, v, step.View(1)}, 0), []float64{1, 1, 1, 4}, 0)
}

// TestAdamWInOnePass compares the fused kernel with libtorch's update and lerp in
// float64, for sizes around a task's, with and without skipping, and with the learning
// rate from the host and from a tensor.
func TestAdamWInOnePass(t *testing.T) {
	sizes := [][]int64{{2048}, {1}, {0}, {2049}, {3, 5, 3, 3}, {2047}, {4, 4096}}
	for _, skip := range []float64{0, 1} {
		run := func(dtype DType) (values []float64) {
			Scope(func() {
				draw := func(stream uint32) (list []Tensor) {
					for i, shape := range sizes {
						x := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: uint64(i), Stream: stream}, shape...)
						list = append(list, x.CastTo(dtype))
					}
					return list
				}
				zeros := func() (list []Tensor) {
					for _, p := range draw(0) {
						list = append(list, ZerosLike(p))
					}
					return list
				}
				p, m, v, step := draw(1), zeros(), zeros(), full(0)
				o := AdamWOptions{
					LR: 0.01, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Skip: full(skip),
					EMAs: []EMA{{0.5, draw(3)}, {0.99, draw(4)}},
				}
				for k := range uint32(3) {
					if k == 1 {
						o.LR, o.LRFrom = 0, full(0.02).CastTo(Double)
					}
					fusedAdamW(p, draw(10+k), m, v, step, o)
				}
				for _, list := range [][]Tensor{p, m, v, o.EMAs[0].Tensors, o.EMAs[1].Tensors} {
					for _, x := range list {
						values = append(values, x.Float64s()...)
					}
				}
				values = append(values, step.Float64())
			})
			return values
		}
		if d, largest := furthest(run(Float), run(Double)); d > 1e-6*largest {
			t.Errorf("skip %v: the values differ by %g of %g", skip, d, largest)
		}
	}
	x := PhiloxNormal(Device{}, Float, PhiloxKey{}, 5000)
	if got, want := TotalNorm([]Tensor{x, x}).Float64(), TotalNorm([]Tensor{x.CastTo(Double), x.CastTo(Double)}).Float64(); math.Abs(got/want-1) > 1e-6 {
		t.Errorf("the total norm is %v, want %v", got, want)
	}
}

// TestSetWorkingWeights trains with 16-bit working weights and a gradient scale, and compares
// with explicit casts.
func TestSetWorkingWeights(t *testing.T) {
	for _, dtype := range []DType{BFloat16, Half} {
		p, own, same := startingPoint().CastTo(Float).Detach(), withGrad(ones(5000)), startingPoint().CastTo(Float).Detach()
		copied := p.CastTo(dtype)
		copied.SetRequiresGrad(true)
		same.SetRequiresGrad(true)
		opt, plain := AdamW(AdamWOptions{LR: 0.1, WeightDecay: 0.1}), AdamW(AdamWOptions{LR: 0.1, WeightDecay: 0.1})
		opt.AddParameters([]Tensor{p, own})
		opt.SetWorkingWeights([]Tensor{copied, {}})
		opt.SetGradScale(full(0.25))
		plain.AddParameters([]Tensor{same})
		average := p.Clone()
		opt.AddEMA(EMA{0.5, []Tensor{average, own.Detach().Clone()}})
		for k := range 4 {
			Scope(func() {
				opt.ZeroGrad()
				plain.ZeroGrad()
				loss := func(x Tensor) { x.Mul(x).Mul(x).Sum().CastTo(Float).Mul(full(float64(k + 1))).Backward() }
				loss(copied)
				loss(same.CastTo(dtype))
				own.Sum().Backward()
				if g := opt.Gradients(); len(g) != 2 || g[0].Dtype() != dtype || g[1].Dtype() != Float {
					t.Fatalf("step %d: the gradients are %v", k, g)
				}
				g := same.Grad()
				if got, want := TotalNorm(opt.Gradients()).Float64(), math.Hypot(TotalNorm([]Tensor{g}).Float64(), math.Sqrt(5000)); math.Abs(got/want-1) > 1e-6 {
					t.Errorf("step %d: the norm of gradients of two dtypes is %v, want %v", k, got, want)
				}
				ForeachMulI([]Tensor{g}, full(0.25))
				opt.Step()
				plain.Step()
			})
			checkValues(t, p, same.Float64s(), map[DType]float64{Half: 1e-6}[dtype]) // of float16 there is no kernel
			checkValues(t, copied, p.CastTo(dtype).Float64s(), 0)
		}
		opt.ZeroGrad()
		if g := opt.Gradients(); len(g) != 0 {
			t.Errorf("gradients are left: %v", g)
		}
		p.SetRequiresGrad(true)
		p.Sum().Backward()
		before := average.Float64s()[0]
		opt.Step()
		if average.Float64s()[0] == before {
			t.Error("a parameter's own gradient is not used")
		}
		checkValues(t, copied, p.CastTo(dtype).Float64s(), 0)
		copied.Sum().Backward()
		mustFail(t, opt.Step) // one of the gradients would be lost
		if p.Float64s()[0] == 1 || average.Float64s()[0] == 1 {
			t.Error("the parameters have not changed")
		}
	}
}

// TestAddEMA checks that an optimizer updates an EMA.
func TestAddEMA(t *testing.T) {
	opt, p := AdamW(AdamWOptions{LR: 0.1}), startingPoint()
	opt.AddParameters([]Tensor{p})
	average := p.Detach().Clone()
	opt.AddEMA(EMA{0.75, []Tensor{average}})
	want := average.Float64s()
	for k := range 3 {
		descend(opt, p, k, 1)
		for i, v := range p.Float64s() {
			want[i] = 0.75*want[i] + 0.25*v
		}
	}
	checkValues(t, average, want, 1e-12)
	opt.Close()
}

// TestClipCoefficient clips gradients of norm 5.
func TestClipCoefficient(t *testing.T) {
	for limit, want := range map[float64]float64{10: 1, 5.1: 1, 1: 0.2} {
		grads := []Tensor{FromFloat32s([]float32{3}), FromFloat32s([]float32{4})}
		checkValues(t, ClipCoefficient(TotalNorm(grads), limit), []float64{want}, 1e-6)
	}
}

// TestStepUnless skips an update: nothing changes, and it is not counted.
func TestStepUnless(t *testing.T) {
	opt, p := AdamW(AdamWOptions{LR: 0.1, WeightDecay: 0.1}), FromFloat32s([]float32{1, -2, 3})
	p.SetRequiresGrad(true)
	opt.AddParameters([]Tensor{p})
	average := p.Detach().Clone()
	opt.AddEMA(EMA{0.5, []Tensor{average}})
	defer opt.Close()
	step := func(gradient, skip float64) {
		p.SetGrad(ZerosLike(p.Detach()).AddScalar(gradient))
		opt.StepUnless(full(skip))
	}
	step(1, 0)
	m, v, _ := opt.State()
	before := Cat([]Tensor{p.Detach(), m[0], v[0], average}, 0).Float64s()
	step(math.NaN(), 1)
	step(math.Inf(1), 1)
	after, updates := Cat([]Tensor{p.Detach(), m[0], v[0], average}, 0), int64(0)
	checkValues(t, after, before, 0)
	if _, _, updates = opt.State(); updates != 1 {
		t.Errorf("%d updates", updates)
	}
	step(1, 0)
	if _, _, updates = opt.State(); updates != 2 || p.Detach().Float64s()[0] >= before[0] {
		t.Errorf("%d updates, to %v", updates, p.Detach().Float64s())
	}
}

// TestEmptyLists calls the list operators with empty lists.
func TestEmptyLists(t *testing.T) {
	ForeachAddI(nil, []Tensor{}, 1)
	ForeachMulI(nil, full(1))
	ForeachCopyI(nil, nil)
	ZeroGrads(nil)
	step := full(0)
	fusedAdamW(nil, nil, nil, nil, step, AdamWOptions{})
	if v := step.Float64(); v != 0 {
		t.Errorf("an update of nothing counts: %v", v)
	}
	mustFail(t, AdamW(AdamWOptions{}).Step)
	mustFail(t, func() { Cat(nil, 0) })
	mustFail(t, func() { Stack(nil, 0) })
}
