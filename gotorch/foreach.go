package gotorch

// #include "iddpm.h"
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// sameLength panics unless all lists have the length of the first.
func sameLength(op string, lists ...[]Tensor) {
	for _, l := range lists {
		if len(l) != len(lists[0]) {
			panic(&Error{Op: op, Message: fmt.Sprintf("lists of %d and %d tensors", len(lists[0]), len(l))})
		}
	}
}

// ForeachCastTo converts every tensor of a list to dtype as CastTo does, with one
// operator and one autograd node. The tensors have one dtype and one device.
func ForeachCastTo(list []Tensor, dtype DType) []Tensor {
	const op = "ForeachCastTo"
	p, n := cList(op, list)
	if n == 0 {
		return nil
	}
	out := make([]C.gt_tensor, n)
	check(op, C.gt_cast_list(p, n, C.int32_t(dtype), &out[0]))
	runtime.KeepAlive(list)
	casts := make([]Tensor, n)
	for i, c := range out {
		casts[i] = own(c)
	}
	return casts
}

// ForeachAddI adds alpha b[i] to every a[i], in place.
func ForeachAddI(a, b []Tensor, alpha float64) {
	sameLength("ForeachAddI", a, b)
	p, n := cList("ForeachAddI", a)
	q, _ := cList("ForeachAddI", b)
	check("ForeachAddI", C.gt_foreach_add_(p, q, n, C.double(alpha)))
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
}

// ForeachMulI multiplies every a[i] by a tensor of one element, in place. The host
// does not read that element.
func ForeachMulI(a []Tensor, factor Tensor) {
	p, n := cList("ForeachMulI", a)
	check("ForeachMulI", C.gt_foreach_mul_(p, n, factor.defined("ForeachMulI")))
	runtime.KeepAlive(a)
	runtime.KeepAlive(factor.owner)
}

// ForeachCopyI overwrites every dst[i] with src[i].
func ForeachCopyI(dst, src []Tensor) {
	sameLength("ForeachCopyI", dst, src)
	p, n := cList("ForeachCopyI", dst)
	q, _ := cList("ForeachCopyI", src)
	check("ForeachCopyI", C.gt_foreach_copy_(p, q, n))
	runtime.KeepAlive(dst)
	runtime.KeepAlive(src)
}

// TotalNorm returns the 2-norm over all elements of all tensors as a scalar tensor,
// float32, or float64 if one of them is. The host does not wait for the device.
func TotalNorm(tensors []Tensor) Tensor {
	p, n := cList("TotalNorm", tensors)
	r := C.gt_total_norm(p, n)
	runtime.KeepAlive(tensors)
	return resultOf("TotalNorm", r)
}

// AdamWOptions configures AdamW (Loshchilov & Hutter 2019).
type AdamWOptions struct {
	LR             float64
	Beta1          float64
	Beta2          float64
	Eps            float64
	WeightDecay    float64  // decoupled: each update multiplies the parameter by 1 - LR WeightDecay
	LRFrom         Tensor   // float64, one element: the learning rate, read on the device during the update, for a [Graph]; undefined: LR
	Skip           Tensor   // float32, one element: 1 skips the update; undefined: 0
	GradScale      Tensor   // float32, one element: factor of the gradients, as for clipping; undefined: 1
	EMAs           []EMA    // updated after the parameters
	WorkingWeights []Tensor // per parameter a bfloat16 or float16 copy, rewritten after the update; its gradient may have that dtype; undefined: none
}

// EMA holds exponential moving averages of the parameters: an update sets each to
// Rate times itself plus 1 - Rate times the parameter.
type EMA struct {
	Rate    float64
	Tensors []Tensor // one per parameter, of its shape and memory layout
}

// fusedAdamW updates all params in one call, on the CPU in one pass over all
// values. expAvg and expAvgSq are the moments, shaped as the parameters; step is
// a float32 tensor of one element that counts the updates. A successful call
// increments it.
func fusedAdamW(params, grads, expAvg, expAvgSq []Tensor, step Tensor, o AdamWOptions) {
	const op = "fusedAdamW"
	lists := [][]Tensor{params, grads, expAvg, expAvgSq}
	working := o.WorkingWeights
	if working == nil {
		working = make([]Tensor, len(params))
	}
	lists = append(lists, working)
	var emas []Tensor
	rates := make([]C.double, 0, len(o.EMAs))
	for _, e := range o.EMAs {
		lists = append(lists, e.Tensors)
		emas = append(emas, e.Tensors...)
		rates = append(rates, C.double(e.Rate))
	}
	sameLength(op, lists...)
	p, n := cList(op, params)
	g, _ := cList(op, grads)
	m, _ := cList(op, expAvg)
	v, _ := cList(op, expAvgSq)
	e, _ := cList(op, emas)
	w := cOptionalList(op, working)
	lr, skip, gradScale := o.LRFrom, o.Skip, o.GradScale
	check(op, C.gt_fused_adamw_(C.gt_adamw_tensors{
		n: n, params: p, grads: g, exp_avg: m, exp_avg_sq: v, working: w, step: step.defined(op),
	}, C.gt_adamw_options{
		lr: C.double(o.LR), beta1: C.double(o.Beta1), beta2: C.double(o.Beta2), weight_decay: C.double(o.WeightDecay), eps: C.double(o.Eps),
		lr_from: lr.optional(op), skip: skip.optional(op), grad_scale: gradScale.optional(op),
		emas: e, rates: unsafe.SliceData(rates), n_emas: C.int64_t(len(rates)),
	}))
	for _, list := range [][]Tensor{params, grads, expAvg, expAvgSq, working, emas} {
		runtime.KeepAlive(list)
	}
	for _, t := range []Tensor{step, lr, skip, gradScale} {
		runtime.KeepAlive(t.owner)
	}
}
