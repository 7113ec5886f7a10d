package diffusion

import (
	"math"

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

// pSampleCoefficients are the coefficients of PSample: equations 3, 11 and 15.
func (d *GaussianDiffusion) pSampleCoefficients() stepCoefficients {
	return stepCoefficients{op: "PSample", addsNoise: true, rows: d.newTable(func(t int) []float64 {
		c := d.coefficients(t)
		ofX, ofPrediction := d.predictXStartFactors(c)
		logVariance, slope := d.logVarianceFactors(c)
		if d.MeanType == PreviousX {
			return []float64{ofX, ofPrediction, 0, 0, 1, logVariance, slope, c[colNonzeroMask]}
		}
		return []float64{ofX, ofPrediction, c[colPosteriorMeanCoef1], c[colPosteriorMeanCoef2], 0, logVariance, slope, c[colNonzeroMask]}
	})}
}

// ddimSampleCoefficients are the coefficients of DDIMSample, computed once per eta.
func (d *GaussianDiffusion) ddimSampleCoefficients(eta float64) stepCoefficients {
	c, known := d.ddimSample[eta]
	if !known {
		c = d.newDDIMSampleCoefficients(eta)
		d.ddimSample[eta] = c
	}
	return c
}

func (d *GaussianDiffusion) newDDIMSampleCoefficients(eta float64) stepCoefficients {
	return stepCoefficients{op: "DDIMSample", addsNoise: eta != 0, rows: d.newTable(func(t int) []float64 {
		c := d.coefficients(t)
		variance := eta * eta * c[colPosteriorVariance] // sigma^2; 0 at t = 0
		epsilonFactor := math.Sqrt(max(0, c[colOneMinusAlphasCumprodPrev]-variance))
		return d.ddimRow(c, c[colSqrtAlphasCumprodPrev], epsilonFactor, math.Sqrt(variance))
	})}
}

// ddimReverseSampleCoefficients are the coefficients of DDIMReverseSample.
func (d *GaussianDiffusion) ddimReverseSampleCoefficients() stepCoefficients {
	return stepCoefficients{op: "DDIMReverseSample", rows: d.newTable(func(t int) []float64 {
		alphaBarNext := d.AlphasCumprodNext[t]
		return d.ddimRow(d.coefficients(t), math.Sqrt(alphaBarNext), math.Sqrt(1-alphaBarNext), 0)
	})}
}

// ddimRow is equation 12 of the DDIM paper: xStartFactor times the predicted x_0, plus
// epsilonFactor times the noise consistent with it (after clipping not the predicted
// noise), plus sigma times new noise.
func (d *GaussianDiffusion) ddimRow(c [columns]float64, xStartFactor, epsilonFactor, sigma float64) []float64 {
	ofX, ofPrediction := d.predictXStartFactors(c)
	perXStart := epsilonFactor / c[colSqrtRecipm1AlphasCumprod]
	return []float64{ofX, ofPrediction, xStartFactor - perXStart, perXStart * c[colSqrtRecipAlphasCumprod], 0, 0, 0, sigma}
}

// predictXStartFactors returns predictXStart's factors of x_t and of the network's
// prediction.
func (d *GaussianDiffusion) predictXStartFactors(c [columns]float64) (ofX, ofPrediction float64) {
	switch d.MeanType {
	case XStart:
		return 0, 1
	case PreviousX:
		return -c[colPosteriorMeanCoefRatio], c[colRecipPosteriorMeanCoef1]
	}
	return c[colSqrtRecipAlphasCumprod], -c[colSqrtRecipm1AlphasCumprod]
}
