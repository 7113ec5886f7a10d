package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

// LossColumns is the number of columns in the rows of [DiffusionLosses].
const LossColumns = 5

// DiffusionLosses returns the terms of the training objective, with one kernel for
// the forward and one for the backward pass: mse [N], the mean squared error of the
// prediction, and, if bound is set, vb [N], the term of the variational bound in
// bits/dim (Nichol & Dhariwal 2021, equations 5 and 6).
//
// target and xStart are [N, C, H, W]. out holds the prediction in its first C
// channels and optionally the variance output v in C more. Only out gets a gradient;
// vb's gradient reaches the prediction only if through is set.
//
// Row n of rows [N, LossColumns] holds, for the timestep of image n:
//
//	0  the factor from (target - prediction) to the difference of the means of
//	   p(x_{t-1} | x_t) and q(x_{t-1} | x_t, x_0)
//	1  log variance of p in nats at v = 1, and without a variance output
//	2  log variance of p in nats at v = -1; v interpolates linearly
//	3  log variance of q in nats
//	4  0 at t = 0, where the term is the decoder NLL; else 1
//
// All tensors are float32. Images are converted to channels-last memory.
func DiffusionLosses(out, target, xStart, rows Tensor, bound, through bool) (mse, vb Tensor) {
	const op = "DiffusionLosses"
	p := C.gt_diffusion_losses(out.defined(op), target.defined(op), xStart.defined(op), rows.defined(op), cBool(bound), cBool(through))
	for _, t := range []Tensor{out, target, xStart, rows} {
		runtime.KeepAlive(t.owner)
	}
	check(op, p.error)
	return own(p.first), own(p.second)
}

// QSampleColumns is the number of columns in the rows of [DiffusionQSample].
const QSampleColumns = 2

// DiffusionQSample samples x_t from q(x_t | x_0) and also returns the noise it used,
// in one kernel (Nichol & Dhariwal 2021, equation 9). The noise is that of
// [PhiloxNormal] for the key.
//
// xStart and both results are [N, C, H, W]. Row n of rows [N, QSampleColumns] holds,
// for the timestep of image n:
//
//	0  sqrt(alphasCumprod), the factor of x_0
//	1  sqrt(1 - alphasCumprod), the factor of the noise
//
// All tensors are float32. Images are converted to channels-last memory.
// There are no gradients.
func DiffusionQSample(xStart, rows Tensor, key PhiloxKey) (xT, noise Tensor) {
	const op = "DiffusionQSample"
	step := key.StepOf
	p := C.gt_diffusion_q_sample(xStart.defined(op), rows.defined(op), key.c(), step.optional(op))
	for _, t := range []Tensor{xStart, rows, step} {
		runtime.KeepAlive(t.owner)
	}
	check(op, p.error)
	return own(p.first), own(p.second)
}

// ReverseStepColumns is the number of columns in the rows of [DiffusionReverseStep].
const ReverseStepColumns = 8

// ReverseStepOptions configures [DiffusionReverseStep]. The zero value adds no
// noise, whatever the rows contain, and does not clip.
type ReverseStepOptions struct {
	Clip  bool   // clips the predicted x_0 to [-1, 1]
	Noise Tensor // standard normal, [N, C, H, W]; undefined: no noise
}

// DiffusionReverseStep returns x_{t-1} and the predicted x_0 from x_t and the
// network's output, in one kernel. It covers ancestral sampling (Nichol & Dhariwal
// 2021, equations 3, 11 and 15; Ho et al. 2020, algorithm 2) and DDIM (Song et al.
// 2021, equation 12).
//
// x is x_t; x and both results are [N, C, H, W]. out holds the prediction in its
// first C channels and optionally the variance output v in C more. Row n of rows
// [N, ReverseStepColumns] holds a, b, c, d, e, l, s and m:
//
//	x_0 = a x_t + b prediction, clipped if Clip is set
//	x_{t-1} = c x_0 + d x_t + e prediction + m exp((l + s v)/2) noise
//
// so l is a log variance in nats, and m is 0 at t = 0. A term whose factor is 0 is
// left out even if the other factor is infinite or NaN, except for the noise.
//
// All tensors are float32. Images are converted to channels-last memory.
// There are no gradients.
func DiffusionReverseStep(out, x, rows Tensor, o ReverseStepOptions) (previous, xStart Tensor) {
	const op = "DiffusionReverseStep"
	noise := o.Noise
	p := C.gt_diffusion_reverse_step(out.defined(op), x.defined(op), rows.defined(op), cBool(o.Clip), noise.optional(op))
	for _, t := range []Tensor{out, x, rows, noise} {
		runtime.KeepAlive(t.owner)
	}
	check(op, p.error)
	return own(p.first), own(p.second)
}
