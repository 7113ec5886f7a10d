package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

// LossColumns is how many numbers a row of [DiffusionLosses] has.
const LossColumns = 5

// DiffusionLosses returns the terms of a diffusion's training objective, one
// kernel each way: mse [N], the mean squared error of what a network predicts
// against target, and, if bound is set, vb [N], the variational bound's term in
// bits/dim (Nichol & Dhariwal 2021, equations 5 and 6).
//
// target and xStart are [N, C, H, W]. out is the prediction, and may have a second
// half of C channels: what it says of the variance. A gradient reaches out alone;
// vb's reaches the prediction only if through is set.
//
// A row of rows [N, LossColumns] holds, for the step that a picture is at:
//
//	0  the error of p(x_{t-1} | x_t)'s mean over that of the prediction: target
//	   less prediction times this is the mean less q(x_{t-1} | x_t, x_0)'s
//	1  p's log variance, nats, where the network gives none or 0
//	2  what a 1 of the network adds to it
//	3  q's log variance, nats
//	4  0 where the step is the first, t = 0, whose term is the decoder's; else 1
//
// All tensors are float32. Pictures are read in channels-last memory.
func DiffusionLosses(out, target, xStart, rows Tensor, bound, through bool) (mse, vb Tensor) {
	const op = "DiffusionLosses"
	p := C.gt_diffusion_losses(out.defined(op), target.defined(op), xStart.defined(op), rows.defined(op), cBool(bound), cBool(through))
	for _, t := range []Tensor{out, target, xStart, rows} {
		runtime.KeepAlive(t.owner)
	}
	check(op, p.error)
	return own(p.first), own(p.second)
}
