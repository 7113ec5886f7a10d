package diffusion

import (
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch"
)

// The columns of the table of coefficients, one row per timestep. One gather returns
// all coefficients of a batch.
const (
	colScaledTimestep = iota // the timestep that the network receives
	colNonzeroMask           // 0 at t = 0, else 1: the reference's nonzero_mask
	colSqrtAlphasCumprod
	colSqrtOneMinusAlphasCumprod // right after it: see colQSample
	colOneMinusAlphasCumprod
	colLogOneMinusAlphasCumprod
	colSqrtRecipAlphasCumprod
	colSqrtRecipm1AlphasCumprod
	colPosteriorMeanCoef1
	colPosteriorMeanCoef2
	colRecipPosteriorMeanCoef1
	colPosteriorMeanCoefRatio // coef2/coef1
	colPosteriorVariance
	colPosteriorLogVariance // clipped
	colFixedLargeVariance   // beta; betaTilde_1 at t = 0, for a better decoder likelihood
	colFixedLargeLogVariance
	colLogVarianceMid       // (log beta + log betaTilde)/2
	colLogVarianceHalfRange // (log beta - log betaTilde)/2
	colLogBeta
	colSqrtAlphasCumprodPrev
	colOneMinusAlphasCumprodPrev
	colSqrtAlphasCumprodNext
	colSqrtOneMinusAlphasCumprodNext
	colLosses // the first of gotorch.LossColumns
	columns   = colLosses + gotorch.LossColumns

	colQSample = colSqrtAlphasCumprod // the first of gotorch.QSampleColumns
)

// coefficients returns the columns of the table, float64 [T] each.
func (d *GaussianDiffusion) coefficients(s deviceSchedule) (c [columns]gotorch.Tensor) {
	c[colScaledTimestep] = d.scaledTimesteps().CastTo(gotorch.Double)
	c[colNonzeroMask] = gotorch.ArangeOn(d.device, gotorch.Double, 0, float64(d.NumTimesteps()), 1).Clamp(0, 1)
	setForward(&c, s)
	setPosterior(&c, s)
	d.setLosses(&c)
	return c
}

func setForward(c *[columns]gotorch.Tensor, s deviceSchedule) {
	c[colSqrtAlphasCumprod] = s.alphasCumprod.Sqrt()
	c[colSqrtOneMinusAlphasCumprod] = oneMinus(s.alphasCumprod).Sqrt()
	c[colOneMinusAlphasCumprod] = oneMinus(s.alphasCumprod)
	c[colLogOneMinusAlphasCumprod] = oneMinus(s.alphasCumprod).Log()
	c[colSqrtRecipAlphasCumprod] = s.alphasCumprod.PowScalar(-1).Sqrt()
	c[colSqrtRecipm1AlphasCumprod] = s.alphasCumprod.PowScalar(-1).AddScalar(-1).Sqrt()
	c[colSqrtAlphasCumprodPrev] = s.alphasCumprodPrev.Sqrt()
	c[colOneMinusAlphasCumprodPrev] = oneMinus(s.alphasCumprodPrev)
	c[colSqrtAlphasCumprodNext] = s.alphasCumprodNext.Sqrt()
	c[colSqrtOneMinusAlphasCumprodNext] = oneMinus(s.alphasCumprodNext).Sqrt()
}

func setPosterior(c *[columns]gotorch.Tensor, s deviceSchedule) {
	c[colPosteriorMeanCoef1] = s.posteriorMeanCoef1
	c[colPosteriorMeanCoef2] = s.posteriorMeanCoef2
	c[colRecipPosteriorMeanCoef1] = s.posteriorMeanCoef1.PowScalar(-1)
	c[colPosteriorMeanCoefRatio] = s.posteriorMeanCoef2.Div(s.posteriorMeanCoef1)
	c[colPosteriorVariance] = s.posteriorVariance
	c[colPosteriorLogVariance] = s.posteriorLogVarianceClipped
	c[colFixedLargeVariance] = gotorch.Cat([]gotorch.Tensor{s.posteriorVariance.Narrow(0, 1, 1), s.betas.Narrow(0, 1, s.betas.Numel()-1)}, 0)
	c[colFixedLargeLogVariance] = c[colFixedLargeVariance].Log()
	c[colLogBeta] = s.betas.Log()
	c[colLogVarianceMid] = c[colLogBeta].Add(c[colPosteriorLogVariance], 1).MulScalar(0.5)
	c[colLogVarianceHalfRange] = c[colLogBeta].Sub(c[colPosteriorLogVariance], 1).MulScalar(0.5)
}

// setLosses fills the row of gotorch.DiffusionLosses.
func (d *GaussianDiffusion) setLosses(c *[columns]gotorch.Tensor) {
	zero, one := gotorch.ZerosLike(c[colNonzeroMask]), gotorch.ZerosLike(c[colNonzeroMask]).AddScalar(1)
	var scale gotorch.Tensor
	switch d.MeanType {
	case XStart:
		scale = c[colPosteriorMeanCoef1].Neg()
	case PreviousX:
		scale = one.Neg()
	default: // the error of x_0 over the error of the noise, times coef1
		scale = c[colPosteriorMeanCoef1].Mul(c[colSqrtRecipm1AlphasCumprod])
	}
	var maxLog, minLog, between = zero, zero, zero
	switch d.VarType {
	case FixedLarge:
		maxLog = c[colFixedLargeLogVariance]
	case FixedSmall:
		maxLog = c[colPosteriorLogVariance]
	case LearnedRange:
		maxLog, minLog, between = c[colLogBeta], c[colPosteriorLogVariance], one
	}
	copy(c[colLosses:], []gotorch.Tensor{scale, maxLog, minLog, between, c[colPosteriorLogVariance], c[colNonzeroMask]})
}

// Timesteps are the timesteps t of a batch with their coefficients. Its tensors belong
// to the scope in which it was created.
type Timesteps struct {
	host     []int64        // [N], or one timestep for the whole batch; nil if only the device has them
	onDevice gotorch.Tensor // the same, int64 on the device; undefined if only the host has them
	scaled   gotorch.Tensor // [N] float32, the timesteps that the network receives: the reference's _scale_timesteps
	coef     gotorch.Tensor // [N, columns, 1, 1], or [1, columns, 1, 1] for one timestep
}

// At returns the timesteps t, one per image, 0 <= t < T.
func (d *GaussianDiffusion) At(t []int64) Timesteps {
	steps := gotorch.FromInt64s(t)
	if d.device.Type == gotorch.CUDA {
		// A synchronous copy, or one from pageable memory, may wait for all queued work.
		steps = steps.PinMemory().CUDA(d.device, true)
	}
	return d.AtTensor(steps, t)
}

// AtTensor is At for timesteps that are on the device already, an int64 tensor [N].
// host is a copy of them, or nil if the host does not know them (a captured graph is
// replayed with other timesteps). With a copy, terms that no t needs are not computed.
func (d *GaussianDiffusion) AtTensor(t gotorch.Tensor, host []int64) Timesteps {
	d.checkSteps(host)
	return d.withCoefficients(Timesteps{host: host, onDevice: t}, t.Numel())
}

// AtStep returns one timestep t for a batch of n images, without a host-to-device
// copy.
func (d *GaussianDiffusion) AtStep(t int, n int64) Timesteps {
	host := []int64{int64(t)}
	d.checkSteps(host)
	return d.withCoefficients(Timesteps{host: host}, n)
}

// atDeviceStep is AtStep for a timestep on the device, an int64 tensor [1].
func (d *GaussianDiffusion) atDeviceStep(t gotorch.Tensor, n int64) Timesteps {
	return d.withCoefficients(Timesteps{onDevice: t}, n)
}

// withCoefficients gathers the coefficients of n images.
func (d *GaussianDiffusion) withCoefficients(t Timesteps, n int64) Timesteps {
	rows := t.extractRows(d.table)
	t.scaled = rows.Select(1, colScaledTimestep).Expand(n)
	t.coef = rows.View(-1, columns, 1, 1)
	return t
}

func (d *GaussianDiffusion) checkSteps(host []int64) {
	for _, t := range host {
		if t < 0 || t >= int64(d.NumTimesteps()) {
			refuse("Timesteps", "step %d is not one of 0 to %d", t, d.NumTimesteps()-1)
		}
	}
}

// extractRows returns the rows of a table [T, columns] at t: [N, columns], or [1,
// columns] for one timestep. There is no host-to-device copy.
func (t Timesteps) extractRows(table gotorch.Tensor) gotorch.Tensor {
	if !t.onDevice.Defined() {
		return table.Narrow(0, t.host[0], 1)
	}
	return table.IndexSelect(0, t.onDevice)
}

// extract returns one coefficient, [N, 1, 1, 1] or [1, 1, 1, 1]: the reference's
// _extract_into_tensor.
func (t Timesteps) extract(column int64) gotorch.Tensor { return t.coef.Narrow(1, column, 1) }

// coefficientRows returns consecutive columns as the rows of a fused kernel, one per
// image.
func (t Timesteps) coefficientRows(first, width, n int64) gotorch.Tensor {
	return t.coef.Narrow(1, first, width).View(-1, width).Expand(n, width)
}

// mayIncludeZero reports whether some t may be 0. It is true if the host does not know
// them.
func (t Timesteps) mayIncludeZero() bool {
	return t.host == nil || slices.Contains(t.host, 0)
}

// mayIncludeNonzero reports whether some t may be above 0.
func (t Timesteps) mayIncludeNonzero() bool {
	return t.host == nil || slices.ContainsFunc(t.host, func(t int64) bool { return t != 0 })
}

// refuse panics with a *gotorch.Error, as gotorch's operators do.
func refuse(op, format string, a ...any) {
	panic(&gotorch.Error{Op: "diffusion." + op, Message: fmt.Sprintf(format, a...)})
}
