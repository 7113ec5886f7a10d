package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

// LossColumns is how many numbers a row of [DiffusionLosses] has.
const LossColumns = 6

// DiffusionLosses returns the terms of a diffusion's training objective, one
// kernel each way: mse [N], the mean squared error of what a network predicts
// against target, and, if bound is set, vb [N], the variational bound's term in
// bits/dim (Nichol & Dhariwal 2021, equations 5 and 6).
//
// target and xStart are [N, C, H, W]. out is the prediction, and may have a second
// half of C channels: what it says of the variance. A gradient reaches out alone;
// vb's reaches the prediction only if through is set.
//
// A row of rows [N, LossColumns] holds, for the step that an image is at:
//
//	0  the error of p(x_{t-1} | x_t)'s mean over that of the prediction: target
//	   less prediction times this is the mean less q(x_{t-1} | x_t, x_0)'s
//	1  p's log variance, nats, where the network gives none, or 1
//	2  p's where it gives -1
//	3  1 where the network says where between both p's lies; 0 where it says what it is
//	4  q's log variance, nats
//	5  0 where the step is the first, t = 0, whose term is the decoder's; else 1
//
// All tensors are float32. Images are read in channels-last memory.
func DiffusionLosses(out, target, xStart, rows Tensor, bound, through bool) (mse, vb Tensor) {
	const op = "DiffusionLosses"
	p := C.gt_diffusion_losses(out.defined(op), target.defined(op), xStart.defined(op), rows.defined(op), cBool(bound), cBool(through))
	for _, t := range []Tensor{out, target, xStart, rows} {
		runtime.KeepAlive(t.owner)
	}
	check(op, p.error)
	return own(p.first), own(p.second)
}

// QSampleColumns is how many numbers a row of [DiffusionQSample] has.
const QSampleColumns = 2

// DiffusionQSample draws x_t from q(x_t | x_0) and also returns the noise in it,
// one kernel for both (Nichol & Dhariwal 2021, equation 9). The noise is
// [PhiloxNormal]'s under the key.
//
// xStart is [N, C, H, W], and so are both results. A row of rows [N,
// QSampleColumns] holds, for the step that an image goes to:
//
//	0  what x_0 is multiplied by, sqrt(alphasCumprod)
//	1  what the noise is multiplied by, sqrt(1 - alphasCumprod)
//
// All tensors are float32. Images are read and written in channels-last memory.
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

// ReverseStepColumns is how many numbers a row of [DiffusionReverseStep] has.
const ReverseStepColumns = 8

// ReverseStepOptions says how [DiffusionReverseStep] goes. The zero value adds no
// noise, whatever the rows say, and does not clip.
type ReverseStepOptions struct {
	Clip  bool   // clips the predicted x_0 to [-1, 1]
	Noise Tensor // if defined, the noise, [N, C, H, W]
}

// DiffusionReverseStep goes from x_t to x_{t-1}, given what a network made of x_t,
// and also returns the predicted x_0, one kernel for both. It is the step of
// ancestral sampling (Nichol & Dhariwal 2021, equations 3, 11 and 15; Ho et al.
// 2020, algorithm 2) and that of DDIM (Song et al. 2021, equation 12).
//
// x is x_t, [N, C, H, W], and so are both results. out is the prediction, and may
// have a second half of C channels: what it says of the variance, v. A row of rows
// [N, ReverseStepColumns] holds a, b, c, d, e, l, s and m:
//
//	x_0 = a x_t + b prediction, clipped if asked
//	x_{t-1} = c x_0 + d x_t + e prediction + m exp((l + s v)/2) noise
//
// so l is a log variance in nats, and m is 0 at t = 0. What a factor of 0 is
// multiplied by does not matter, but for the noise's.
//
// All tensors are float32. Images are read and written in channels-last memory.
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
