package diffusion

import (
	"fmt"
	"math"
	"slices"

	"github.com/wangkuiyi/gotorch"
)

// The columns of the table of coefficients, one row per step: a batch's numbers
// are one gather, whatever it computes.
const (
	colScaledTimestep = iota // what the network sees
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
	colFixedLargeVariance   // beta; betaTilde_1 at t = 0, which gives a better decoder
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

// newTable returns rows of float64 numbers, one per step, on the device, rounded
// once: [T, columns].
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
	default: // x_0 less the predicted x_0 is so many times the noise's error
		scale = r[colPosteriorMeanCoef1] * r[colSqrtRecipm1AlphasCumprod]
	}
	maxLog, minLog, between := d.logVarianceRange(*r)
	copy(r[colLosses:], []float64{scale, maxLog, minLog, between, r[colPosteriorLogVariance], r[colNonzeroMask]})
}

// logVarianceRange returns the model's largest and smallest log variance, nats, and
// whether the network says where between them it lies (1) or what it is (0).
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

// logVarianceFactors returns the model's log variance, nats, where the network
// gives none or 0, and what a 1 of the network adds to it.
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

// Timesteps are the steps t of a batch and the numbers that follow from them.
// Its tensors belong to the scope it was made in.
type Timesteps struct {
	host     []int64        // [N], or one step for the whole batch; nil where the host does not know them
	onDevice gotorch.Tensor // the same, int64 on the device; undefined where the host alone knows the one step
	scaled   gotorch.Tensor // [N] float32, what the network sees: the reference's _scale_timesteps
	coef     gotorch.Tensor // [N, columns, 1, 1], or [1, columns, 1, 1] for one step
}

// At returns the steps t, one per image, 0 <= t < T.
func (d *GaussianDiffusion) At(t []int64) Timesteps {
	steps := gotorch.FromInt64s(t)
	if d.device.Type == gotorch.CUDA {
		// A copy that blocks, or from pageable memory, may wait for all the work queued before it.
		steps = steps.PinMemory().CUDA(d.device, true)
	}
	return d.AtTensor(steps, t)
}

// AtTensor is At for steps that are on the device already, an int64 tensor [N].
// host is a copy of them, which saves work, or nil where the host does not know
// them (as when a step is captured once and replayed with others).
func (d *GaussianDiffusion) AtTensor(t gotorch.Tensor, host []int64) Timesteps {
	d.checkSteps(host)
	return d.withCoefficients(Timesteps{host: host, onDevice: t}, t.Numel())
}

// AtStep returns one step t for a batch of n images. Nothing is copied to the
// device.
func (d *GaussianDiffusion) AtStep(t int, n int64) Timesteps {
	host := []int64{int64(t)}
	d.checkSteps(host)
	return d.withCoefficients(Timesteps{host: host}, n)
}

// atDeviceStep is AtStep for a step that only the device knows: an int64 [1] there.
func (d *GaussianDiffusion) atDeviceStep(t gotorch.Tensor, n int64) Timesteps {
	return d.withCoefficients(Timesteps{onDevice: t}, n)
}

// withCoefficients adds the numbers that follow from the steps of n images, one
// gather for all that extract returns.
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

// extractRows returns the steps' rows of a table [T, columns]: [N, columns], or
// [1, columns] for one step. Nothing is copied to the device.
func (t Timesteps) extractRows(table gotorch.Tensor) gotorch.Tensor {
	if !t.onDevice.Defined() {
		return table.Narrow(0, t.host[0], 1)
	}
	return table.IndexSelect(0, t.onDevice)
}

// extract returns one coefficient, [N, 1, 1, 1] or [1, 1, 1, 1]: the reference's
// _extract_into_tensor.
func (t Timesteps) extract(column int64) gotorch.Tensor { return t.coef.Narrow(1, column, 1) }

// coefficientRows returns columns of the table as a kernel takes them, one row for
// each of n images.
func (t Timesteps) coefficientRows(first, width, n int64) gotorch.Tensor {
	return t.coef.Narrow(1, first, width).View(-1, width).Expand(n, width)
}

// mayIncludeZero and mayIncludeNonzero report whether any t is 0, and whether any
// is not, as far as the host knows.
func (t Timesteps) mayIncludeZero() bool {
	return t.host == nil || slices.Contains(t.host, 0)
}

func (t Timesteps) mayIncludeNonzero() bool {
	return t.host == nil || slices.ContainsFunc(t.host, func(t int64) bool { return t != 0 })
}

// refuse panics as gotorch's operators do.
func refuse(op, format string, a ...any) {
	panic(&gotorch.Error{Op: "diffusion." + op, Message: fmt.Sprintf(format, a...)})
}
