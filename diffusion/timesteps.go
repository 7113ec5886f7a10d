package diffusion

import (
	"fmt"
	"math"
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
	colLosses // the first of gotorch.LossColumns
	columns   = colLosses + gotorch.LossColumns

	colQSample = colSqrtAlphasCumprod // the first of gotorch.QSampleColumns
)

// coefficients returns a row of the table.
func (d *GaussianDiffusion) coefficients(t int) (r [columns]float64) {
	r[colScaledTimestep] = float64(d.scaledTimesteps[t])
	r[colNonzeroMask] = float64(min(t, 1))
	setForward(&r, d.Schedule, t)
	setPosterior(&r, d.Schedule, t)
	r[colSqrtAlphasCumprodPrev] = math.Sqrt(d.AlphasCumprodPrev[t])
	r[colOneMinusAlphasCumprodPrev] = 1 - d.AlphasCumprodPrev[t]
	d.setLosses(&r)
	return r
}

// newTable returns a table [T, columns] on the device, one row per timestep, rounded to
// float32.
func (d *GaussianDiffusion) newTable(row func(t int) []float64) (table gotorch.Tensor) {
	var numbers []float32
	for t := range d.Betas {
		for _, v := range row(t) {
			numbers = append(numbers, float32(v))
		}
	}
	steps := d.NumTimesteps()
	gotorch.Scope(func() {
		table = gotorch.FromFloat32s(numbers, int64(steps), int64(len(numbers)/steps)).To(d.device).Unscoped()
	})
	return table
}

func setForward(r *[columns]float64, s Schedule, t int) {
	r[colSqrtAlphasCumprod] = s.SqrtAlphasCumprod[t]
	r[colSqrtOneMinusAlphasCumprod] = s.SqrtOneMinusAlphasCumprod[t]
	r[colOneMinusAlphasCumprod] = 1 - s.AlphasCumprod[t]
	r[colLogOneMinusAlphasCumprod] = s.LogOneMinusAlphasCumprod[t]
	r[colSqrtRecipAlphasCumprod] = s.SqrtRecipAlphasCumprod[t]
	r[colSqrtRecipm1AlphasCumprod] = s.SqrtRecipm1AlphasCumprod[t]
}

func setPosterior(r *[columns]float64, s Schedule, t int) {
	r[colPosteriorMeanCoef1] = s.PosteriorMeanCoef1[t]
	r[colPosteriorMeanCoef2] = s.PosteriorMeanCoef2[t]
	r[colRecipPosteriorMeanCoef1] = 1 / s.PosteriorMeanCoef1[t]
	r[colPosteriorMeanCoefRatio] = s.PosteriorMeanCoef2[t] / s.PosteriorMeanCoef1[t]
	r[colPosteriorVariance] = s.PosteriorVariance[t]
	r[colPosteriorLogVariance] = s.PosteriorLogVarianceClipped[t]
	large := s.Betas[t]
	if t == 0 {
		large = s.PosteriorVariance[1]
	}
	r[colFixedLargeVariance] = large
	r[colFixedLargeLogVariance] = math.Log(large)
	maxLog, minLog := math.Log(s.Betas[t]), s.PosteriorLogVarianceClipped[t]
	r[colLogBeta] = maxLog
	r[colLogVarianceMid] = (maxLog + minLog) / 2
	r[colLogVarianceHalfRange] = (maxLog - minLog) / 2
}

// setLosses fills a row of gotorch.DiffusionLosses.
func (d *GaussianDiffusion) setLosses(r *[columns]float64) {
	var scale float64
	switch d.MeanType {
	case XStart:
		scale = -r[colPosteriorMeanCoef1]
	case PreviousX:
		scale = -1
	default: // the error of x_0 over the error of the noise, times coef1
		scale = r[colPosteriorMeanCoef1] * r[colSqrtRecipm1AlphasCumprod]
	}
	maxLog, minLog, between := d.logVarianceRange(*r)
	copy(r[colLosses:], []float64{scale, maxLog, minLog, between, r[colPosteriorLogVariance], r[colNonzeroMask]})
}

// logVarianceRange returns the model's largest and smallest log variance, nats, and
// whether the network interpolates between them (1) or predicts it (0).
func (d *GaussianDiffusion) logVarianceRange(r [columns]float64) (maxLog, minLog, between float64) {
	switch d.VarType {
	case FixedSmall:
		return r[colPosteriorLogVariance], 0, 0
	case LearnedRange:
		return r[colLogBeta], r[colPosteriorLogVariance], 1
	case Learned:
		return 0, 0, 0
	}
	return r[colFixedLargeLogVariance], 0, 0
}

// logVarianceFactors returns the model's log variance, nats, at v = 0 and its
// derivative with respect to the network's output v.
func (d *GaussianDiffusion) logVarianceFactors(r [columns]float64) (logVariance, slope float64) {
	switch d.VarType {
	case FixedSmall:
		return r[colPosteriorLogVariance], 0
	case LearnedRange:
		return r[colLogVarianceMid], r[colLogVarianceHalfRange]
	case Learned:
		return 0, 1
	}
	return r[colFixedLargeLogVariance], 0
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
