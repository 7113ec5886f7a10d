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
	colTimestep = iota // what the network sees
	colNotFirst        // 0 at t = 0, else 1
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
	colSqrtAlphasCumprodPrev
	colOneMinusAlphasCumprodPrev
	colSqrtAlphasCumprodNext
	colSqrtOneMinusAlphasCumprodNext
	colLosses // the first of gotorch.LossColumns
	columns   = colLosses + gotorch.LossColumns

	colQSample = colSqrtAlphasCumprod // the first of gotorch.QSampleColumns
)

// coefficients returns the table, row-major [T, columns], computed in float64
// and rounded once.
func coefficients(s Schedule, o Objective, timesteps []float32) []float32 {
	row := func(t int) (r [columns]float64) {
		r[colTimestep] = float64(timesteps[t])
		r[colNotFirst] = float64(min(t, 1))
		setForward(&r, s, t)
		setPosterior(&r, s, t)
		r[colSqrtAlphasCumprodPrev] = math.Sqrt(s.AlphasCumprodPrev[t])
		r[colOneMinusAlphasCumprodPrev] = 1 - s.AlphasCumprodPrev[t]
		r[colSqrtAlphasCumprodNext] = math.Sqrt(s.AlphasCumprodNext[t])
		r[colSqrtOneMinusAlphasCumprodNext] = math.Sqrt(1 - s.AlphasCumprodNext[t])
		setLosses(&r, o)
		return r
	}
	table := make([]float32, 0, s.NumTimesteps()*columns)
	for t := range s.Betas {
		for _, v := range row(t) {
			table = append(table, float32(v))
		}
	}
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
	upper, lower := math.Log(s.Betas[t]), s.PosteriorLogVarianceClipped[t]
	r[colLogVarianceMid] = (upper + lower) / 2
	r[colLogVarianceHalfRange] = (upper - lower) / 2
}

// setLosses fills a row of gotorch.DiffusionLosses.
func setLosses(r *[columns]float64, o Objective) {
	var scale, logVariance, slope float64
	switch o.MeanType {
	case XStart:
		scale = -r[colPosteriorMeanCoef1]
	case PreviousX:
		scale = -1
	default: // x_0 less the predicted x_0 is so many times the noise's error
		scale = r[colPosteriorMeanCoef1] * r[colSqrtRecipm1AlphasCumprod]
	}
	switch o.VarType {
	case FixedSmall:
		logVariance = r[colPosteriorLogVariance]
	case LearnedRange:
		logVariance, slope = r[colLogVarianceMid], r[colLogVarianceHalfRange]
	case Learned:
		slope = 1
	default:
		logVariance = r[colFixedLargeLogVariance]
	}
	copy(r[colLosses:], []float64{scale, logVariance, slope, r[colPosteriorLogVariance], r[colNotFirst]})
}

// Timesteps are the steps t of a batch and the numbers that follow from them.
// Its tensors belong to the scope it was made in.
type Timesteps struct {
	host  []int64        // [N], or one step for the whole batch; nil where the host does not know them
	seen  gotorch.Tensor // [N] float32, what the network sees
	coef  gotorch.Tensor // [N, columns, 1, 1], or [1, columns, 1, 1] for one step
	index gotorch.Tensor // int64 [1]: the one step, above 0, that only the device knows; else undefined
}

// At returns the steps t, one per picture, 0 <= t < T.
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
	coef := d.table.IndexSelect(0, t)
	n := t.Numel()
	return Timesteps{host: host, seen: coef.Select(1, colTimestep), coef: coef.View(n, columns, 1, 1)}
}

// AtStep returns one step t for a batch of n pictures. Nothing is copied to the
// device.
func (d *GaussianDiffusion) AtStep(t int, n int64) Timesteps {
	host := []int64{int64(t)}
	d.checkSteps(host)
	seen := gotorch.FullOn(d.device, gotorch.Float, float64(d.seen[t]), n)
	return Timesteps{host: host, seen: seen, coef: d.table.Narrow(0, int64(t), 1).View(1, columns, 1, 1)}
}

// atIndex is AtStep for a step above 0 that only the device knows: an int64 [1]
// there.
func (d *GaussianDiffusion) atIndex(t gotorch.Tensor, n int64) Timesteps {
	coef := d.table.IndexSelect(0, t)
	return Timesteps{seen: coef.Select(1, colTimestep).Expand(n), coef: coef.View(1, columns, 1, 1), index: t}
}

func (d *GaussianDiffusion) checkSteps(host []int64) {
	for _, t := range host {
		if t < 0 || t >= int64(d.NumTimesteps()) {
			refuse("Timesteps", "step %d is not one of 0 to %d", t, d.NumTimesteps()-1)
		}
	}
}

// of returns one coefficient, [N, 1, 1, 1] or [1, 1, 1, 1].
func (t Timesteps) of(column int64) gotorch.Tensor { return t.coef.Narrow(1, column, 1) }

// rows returns columns of the table as a kernel takes them, one row for each of n
// pictures.
func (t Timesteps) rows(first, width, n int64) gotorch.Tensor {
	return t.coef.Narrow(1, first, width).View(-1, width).Expand(n, width)
}

// mayBeFirst and mayBeLater report whether any t is 0, and whether any is not.
func (t Timesteps) mayBeFirst() bool {
	return !t.index.Defined() && (t.host == nil || slices.Contains(t.host, 0))
}

func (t Timesteps) mayBeLater() bool {
	return t.host == nil || slices.ContainsFunc(t.host, func(t int64) bool { return t != 0 })
}

// refuse panics as gotorch's operators do.
func refuse(op, format string, a ...any) {
	panic(&gotorch.Error{Op: "diffusion." + op, Message: fmt.Sprintf(format, a...)})
}
