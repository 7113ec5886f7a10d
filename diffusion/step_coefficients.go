package diffusion

import (
	"github.com/wangkuiyi/gotorch"
)

// stepCoefficients are the coefficients of a sampler's step from x_t to x_{t-1} or
// x_{t+1}: a row of gotorch.DiffusionReverseStep per timestep.
type stepCoefficients struct {
	op        string         // names the step in errors
	rows      gotorch.Tensor // [T, ReverseStepColumns]
	addsNoise bool           // except at t = 0
}

// needsNoise reports whether a step of any image adds noise.
func (c stepCoefficients) needsNoise(t Timesteps) bool {
	return c.addsNoise && t.mayIncludeNonzero()
}

// step evaluates the network and returns the next image and the predicted x_0, without
// gradients. It reads noise only if the step needs it.
func (d *GaussianDiffusion) step(c stepCoefficients, denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool) (next, predXStart gotorch.Tensor) {
	o := gotorch.ReverseStepOptions{Clip: clipDenoised}
	if c.needsNoise(t) {
		mustMatch(c.op, "noise", noise, x)
		o.Noise = noise
	}
	gotorch.NoGrad(func() {
		modelOutput := d.modelOutput(denoise, x, t, cond)
		rows := t.extractRows(c.rows).Expand(x.Size(0), gotorch.ReverseStepColumns)
		next, predXStart = gotorch.DiffusionReverseStep(modelOutput, x, rows, o)
	})
	return next, predXStart
}

// exactColumn returns a coefficient, float64 [T].
func (d *GaussianDiffusion) exactColumn(column int64) gotorch.Tensor {
	return d.exact.Select(1, column)
}

// newRows returns the rows of gotorch.DiffusionReverseStep, float32 [T, ReverseStepColumns].
// An undefined column is 0.
func (d *GaussianDiffusion) newRows(columns [gotorch.ReverseStepColumns]gotorch.Tensor) gotorch.Tensor {
	for i, c := range columns {
		if !c.Defined() {
			columns[i] = gotorch.ZerosOn(d.device, gotorch.Double, int64(d.NumTimesteps()))
		}
	}
	return gotorch.Stack(columns[:], 1).CastTo(gotorch.Float).Unscoped()
}

// pSampleCoefficients are the coefficients of PSample: equations 3, 11 and 15.
func (d *GaussianDiffusion) pSampleCoefficients() stepCoefficients {
	var r [gotorch.ReverseStepColumns]gotorch.Tensor
	r[0], r[1] = d.predictXStartFactors()
	if d.MeanType == PreviousX {
		r[4] = d.exactColumn(colNonzeroMask).MulScalar(0).AddScalar(1)
	} else {
		r[2], r[3] = d.exactColumn(colPosteriorMeanCoef1), d.exactColumn(colPosteriorMeanCoef2)
	}
	r[5], r[6] = d.logVarianceFactors()
	r[7] = d.exactColumn(colNonzeroMask)
	return stepCoefficients{op: "PSample", addsNoise: true, rows: d.newRows(r)}
}

// logVarianceFactors returns the model's log variance, nats, at v = 0 and its
// derivative with respect to the network's output v.
func (d *GaussianDiffusion) logVarianceFactors() (logVariance, slope gotorch.Tensor) {
	switch d.VarType {
	case FixedSmall:
		return d.exactColumn(colPosteriorLogVariance), slope
	case LearnedRange:
		return d.exactColumn(colLogVarianceMid), d.exactColumn(colLogVarianceHalfRange)
	case Learned:
		return logVariance, d.exactColumn(colNonzeroMask).MulScalar(0).AddScalar(1)
	}
	return d.exactColumn(colFixedLargeLogVariance), slope
}

// ddimSampleCoefficients are the coefficients of DDIMSample, computed once per eta.
func (d *GaussianDiffusion) ddimSampleCoefficients(eta float64) stepCoefficients {
	c, known := d.ddimSample[eta]
	if !known {
		gotorch.Scope(func() { c = d.newDDIMSampleCoefficients(eta) })
		d.ddimSample[eta] = c
	}
	return c
}

func (d *GaussianDiffusion) newDDIMSampleCoefficients(eta float64) stepCoefficients {
	variance := d.exactColumn(colPosteriorVariance).MulScalar(eta * eta) // sigma^2; 0 at t = 0
	epsilonFactor := d.exactColumn(colOneMinusAlphasCumprodPrev).Sub(variance, 1).ClampMin(0).Sqrt()
	rows := d.ddimRows(d.exactColumn(colSqrtAlphasCumprodPrev), epsilonFactor, variance.Sqrt())
	return stepCoefficients{op: "DDIMSample", addsNoise: eta != 0, rows: rows}
}

// ddimReverseSampleCoefficients are the coefficients of DDIMReverseSample.
func (d *GaussianDiffusion) ddimReverseSampleCoefficients() stepCoefficients {
	rows := d.ddimRows(d.exactColumn(colSqrtAlphasCumprodNext), d.exactColumn(colSqrtOneMinusAlphasCumprodNext), gotorch.Tensor{})
	return stepCoefficients{op: "DDIMReverseSample", rows: rows}
}

// ddimRows is equation 12 of the DDIM paper: xStartFactor times the predicted x_0, plus
// epsilonFactor times the noise consistent with it (after clipping not the predicted
// noise), plus sigma times new noise.
func (d *GaussianDiffusion) ddimRows(xStartFactor, epsilonFactor, sigma gotorch.Tensor) gotorch.Tensor {
	var r [gotorch.ReverseStepColumns]gotorch.Tensor
	r[0], r[1] = d.predictXStartFactors()
	perXStart := epsilonFactor.Div(d.exactColumn(colSqrtRecipm1AlphasCumprod))
	r[2], r[3] = xStartFactor.Sub(perXStart, 1), perXStart.Mul(d.exactColumn(colSqrtRecipAlphasCumprod))
	r[7] = sigma
	return d.newRows(r)
}

// predictXStartFactors returns predictXStart's factors of x_t and of the network's
// prediction.
func (d *GaussianDiffusion) predictXStartFactors() (ofX, ofPrediction gotorch.Tensor) {
	switch d.MeanType {
	case XStart:
		return ofX, d.exactColumn(colNonzeroMask).MulScalar(0).AddScalar(1)
	case PreviousX:
		return d.exactColumn(colPosteriorMeanCoefRatio).Neg(), d.exactColumn(colRecipPosteriorMeanCoef1)
	}
	return d.exactColumn(colSqrtRecipAlphasCumprod), d.exactColumn(colSqrtRecipm1AlphasCumprod).Neg()
}
