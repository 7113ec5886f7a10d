package gotorch

// #include "iddpm.h"
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// sameLength panics unless all lists are as long as the first.
func sameLength(op string, lists ...[]Tensor) {
	for _, l := range lists {
		if len(l) != len(lists[0]) {
			panic(&Error{Op: op, Message: fmt.Sprintf("lists of %d and %d tensors", len(lists[0]), len(l))})
		}
	}
}

// ForeachCastTo converts every tensor of a list to dtype as CastTo does, all of
// them in one operator and one node of the graph of gradients. The tensors have
// one dtype and one device.
func ForeachCastTo(list []Tensor, dtype int8) []Tensor {
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

// ForeachLerpI moves every a[i] towards b[i] by weight, in place: the update of
// an exponential moving average of rate 1 - weight.
func ForeachLerpI(a, b []Tensor, weight float64) {
	sameLength("ForeachLerpI", a, b)
	p, n := cList("ForeachLerpI", a)
	q, _ := cList("ForeachLerpI", b)
	check("ForeachLerpI", C.gt_foreach_lerp_(p, q, n, C.double(weight)))
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
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

// ForeachMulScalarI multiplies every a[i] by v, in place.
func ForeachMulScalarI(a []Tensor, v float64) {
	p, n := cList("ForeachMulScalarI", a)
	check("ForeachMulScalarI", C.gt_foreach_mul_scalar_(p, n, C.double(v)))
	runtime.KeepAlive(a)
}

// ForeachMulI multiplies every a[i] by a tensor of one element, in place and
// without reading that element back to the host.
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

// TotalNorm returns the 2-norm over all elements of all tensors, as one float32
// tensor, or float64 if one of them is: it does not wait for the device.
func TotalNorm(tensors []Tensor) Tensor {
	p, n := cList("TotalNorm", tensors)
	r := C.gt_total_norm(p, n)
	runtime.KeepAlive(tensors)
	return take("TotalNorm", r)
}

// AdamWOptions are the numbers of one AdamW update (Loshchilov & Hutter 2019).
type AdamWOptions struct {
	LR             float64
	Beta1          float64
	Beta2          float64
	Eps            float64
	WeightDecay    float64   // decoupled: the parameter shrinks by LR WeightDecay
	LRFrom         Tensor    // float64, of one element: what LR is when the update is done, as a [Graph] needs it; undefined: LR
	Skip           Tensor    // float32, of one element: where it is 1 nothing changes; undefined: 0
	GradScale      Tensor    // float32, of one element: the gradients count times so much, as clipping asks for; undefined: 1
	Averages       []Average // moved after the update
	WorkingWeights []Tensor  // per parameter one in bfloat16 or float16, written after the update, in whose dtype its gradient may be; undefined where there is none
}

// Average is an exponential moving average of parameters: an update sets it to
// Rate times itself plus 1 - Rate times the parameters.
type Average struct {
	Rate    float64
	Tensors []Tensor // per parameter, and laid out as it is
}

// FusedAdamWI updates all params in one call, on the CPU in one pass over all
// values. expAvg and expAvgSq are the moments, shaped as the parameters; step is
// a float32 tensor of one element that counts the updates, and goes up by one
// here unless libtorch refuses.
func FusedAdamWI(params, grads, expAvg, expAvgSq []Tensor, step Tensor, o AdamWOptions) {
	const op = "FusedAdamWI"
	lists := [][]Tensor{params, grads, expAvg, expAvgSq}
	copies := o.WorkingWeights
	if copies == nil {
		copies = make([]Tensor, len(params))
	}
	lists = append(lists, copies)
	var averages []Tensor
	rates := make([]C.double, 0, len(o.Averages))
	for _, a := range o.Averages {
		lists = append(lists, a.Tensors)
		averages = append(averages, a.Tensors...)
		rates = append(rates, C.double(a.Rate))
	}
	sameLength(op, lists...)
	p, n := cList(op, params)
	g, _ := cList(op, grads)
	m, _ := cList(op, expAvg)
	v, _ := cList(op, expAvgSq)
	moving, _ := cList(op, averages)
	c := cOptionalList(op, copies)
	lr, skip, gradScale := o.LRFrom, o.Skip, o.GradScale
	check(op, C.gt_fused_adamw_(p, g, m, v, c, n, moving, unsafe.SliceData(rates), C.int64_t(len(rates)), step.defined(op),
		C.double(o.LR), C.double(o.Beta1), C.double(o.Beta2), C.double(o.WeightDecay), C.double(o.Eps), lr.optional(op), skip.optional(op), gradScale.optional(op)))
	for _, list := range [][]Tensor{params, grads, expAvg, expAvgSq, copies, averages} {
		runtime.KeepAlive(list)
	}
	for _, t := range []Tensor{step, lr, skip, gradScale} {
		runtime.KeepAlive(t.owner)
	}
}
