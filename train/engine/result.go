package engine

import (
	"slices"

	"github.com/wangkuiyi/gotorch"

	"iddpm/distributed"
)

// stepOutputs are the metrics of a step, on the device.
type stepOutputs struct {
	loss, mse, vb []gotorch.Tensor // [n] per microbatch, unweighted; mse and vb are empty if not part of the objective
	top1, top5    []gotorch.Tensor // [n] per microbatch: accuracies of a classifier, else empty
	noise         []gotorch.Tensor // [] per microbatch, the norm of its term of the gradient; empty unless measured
	gradNorm      gotorch.Tensor   // []
	nonFinite     gotorch.Tensor   // []: 1 if the loss or the gradient was not finite, and the step was skipped; else 0
}

// gather all-gathers the outputs, which are then those of all ranks' microbatches, by rank.
func (o *stepOutputs) gather(group *distributed.Group) {
	if group == nil {
		return
	}
	lists := []*[]gotorch.Tensor{&o.noise, &o.loss, &o.mse, &o.vb, &o.top1, &o.top5}
	var mine []gotorch.Tensor
	for _, list := range lists {
		for _, x := range *list {
			mine = append(mine, x.View(-1))
		}
	}
	all := group.AllGatherTensor(gotorch.Cat(mine, 0))
	gathered := make([][]gotorch.Tensor, len(lists))
	for rank := range group.Size() {
		row, at := all.Select(0, int64(rank)), int64(0)
		for i, list := range lists {
			for _, x := range *list {
				gathered[i] = append(gathered[i], row.Narrow(0, at, x.Numel()).View(x.Shape()...))
				at += x.Numel()
			}
		}
	}
	for i, list := range lists {
		*list = gathered[i]
	}
}

// nonFinite returns 1 if a loss or the gradient's norm is infinite or NaN, else 0:
// float32, on the device.
func nonFinite(o *stepOutputs) gotorch.Tensor {
	sum := o.gradNorm
	for _, loss := range o.loss {
		sum = sum.Add(loss.Sum(), 1)
	}
	return sum.IsFinite().CastTo(gotorch.Float).MulScalar(-1).AddScalar(1)
}

// pack concatenates all outputs into one tensor, moved out of the scope, and returns its
// layout.
func (o *stepOutputs) pack() (gotorch.Tensor, resultLayout) {
	flat := func(x gotorch.Tensor) gotorch.Tensor { return x.View(-1) }
	parts := []gotorch.Tensor{flat(o.nonFinite), flat(o.gradNorm)}
	for _, norm := range o.noise {
		parts = append(parts, flat(norm))
	}
	parts = slices.Concat(parts, o.loss, o.mse, o.vb, o.top1, o.top5)
	l := resultLayout{mse: len(o.mse) > 0, vb: len(o.vb) > 0, classes: len(o.top1) > 0}
	for _, loss := range o.loss {
		l.sizes = append(l.sizes, int(loss.Numel()))
	}
	l.noise = len(o.noise) > 0
	return gotorch.Cat(parts, 0).MoveOut(), l
}

// resultLayout is the layout of a packed result.
type resultLayout struct {
	sizes                   []int // of the microbatches
	noise, mse, vb, classes bool
}

// Result is the result of one step, over all processes. It stays on the device until Values
// reads it. The caller frees it.
type Result struct {
	Step      int       // optimizer steps so far, including this one
	Timesteps []int64   // [N]
	Weights   []float64 // [N], of importance sampling

	packed  gotorch.Tensor
	layout  *resultLayout
	read    *Values
	counted bool // see Engine.Count
}

// Values are a step's results on the host.
type Values struct {
	NonFinite     bool       // the loss or the gradient was not finite, and the step was skipped
	GradNorm      float64    // of the whole batch, before clipping
	Noise         NoiseNorms // empty unless Options.GradientNoise
	Loss, MSE, VB []float64  // [N], unweighted; MSE and VB are empty if not part of the objective
	Top1, Top5    []float64  // [N], of a classifier: 1 if the class is the likeliest, or among the five likeliest, else 0; else empty
}

// Values returns the result. The first call waits for the device.
func (r *Result) Values() *Values {
	if r.read != nil {
		return r.read
	}
	all := r.packed.Float64s()
	next := func(n int, there bool) (v []float64) {
		if there {
			v, all = all[:n], all[n:]
		}
		return v
	}
	n, l := len(r.Timesteps), r.layout
	v := &Values{}
	v.NonFinite, v.GradNorm = next(1, true)[0] != 0, next(1, true)[0]
	v.Noise = NoiseNorms{Norms: next(len(l.sizes), l.noise), Sizes: l.sizes}
	v.Loss, v.MSE, v.VB = next(n, true), next(n, l.mse), next(n, l.vb)
	v.Top1, v.Top5 = next(n, l.classes), next(n, l.classes)
	r.read = v
	r.packed.Free()
	return v
}

// Loss returns the mean of the losses, each times its importance weight. It waits for the
// device.
func (r *Result) Loss() float64 {
	sum := 0.0
	for i, v := range r.Values().Loss {
		sum += v * r.Weights[i]
	}
	return sum / float64(len(r.Weights))
}

// Free frees the result on the device.
func (r *Result) Free() { r.packed.Free() }
