package diffusion

import "github.com/wangkuiyi/gotorch"

// stepCoefficients are the coefficients of a sampler's step from x_t to x_{t-1} or
// x_{t+1}: a row of gotorch.DiffusionReverseStep per timestep.
type stepCoefficients struct {
	op        string         // names the step in errors
	rows      gotorch.Tensor // [T, ReverseStepColumns]
	addsNoise bool           // except at t = 0

	classifier *ClassifierGuidance // nil: none
	shifts     gradientShifts      // undefined: the variance, in the next image alone

	correction gotorch.Tensor // of a second-order sampler, float32 [T, 1]; undefined: none
	lookahead  bool           // see samplerDefinition
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
		if c.classifier != nil {
			next, predXStart = d.shift(c, modelOutput, x, t, cond, next, predXStart)
		}
	})
	return next, predXStart
}

// pSampleCoefficients are the coefficients of PSample.
func (d *GaussianDiffusion) pSampleCoefficients() stepCoefficients {
	rows := d.coefficients.ancestralRows(d.MeanType.definition(), d.VarType.definition())
	return stepCoefficients{op: "PSample", addsNoise: true, rows: rows.table().Unscoped()}
}

// newDDIMSampleCoefficients returns the coefficients of DDIMSample, and as rows in float64.
func (d *GaussianDiffusion) newDDIMSampleCoefficients(eta float64) (reverseRows, stepCoefficients) {
	c := d.coefficients
	variance := c.of(posteriorVariance).MulScalar(eta * eta) // sigma^2; 0 at t = 0
	epsilonFactor := c.of(oneMinusAlphasCumprodPrev).Sub(variance, 1).ClampMin(0).Sqrt()
	rows := c.ddimRows(d.MeanType.definition(), c.of(sqrtAlphasCumprodPrev), epsilonFactor, variance.Sqrt())
	return rows, stepCoefficients{
		op: "DDIMSample", addsNoise: eta != 0, rows: rows.table().Unscoped(),
		shifts: c.ddimShifts(c.of(sqrtAlphasCumprodPrev), epsilonFactor),
	}
}

// ddimReverseSampleCoefficients are the coefficients of DDIMReverseSample.
func (d *GaussianDiffusion) ddimReverseSampleCoefficients() stepCoefficients {
	c := d.coefficients
	rows := c.ddimRows(d.MeanType.definition(), c.of(sqrtAlphasCumprodNext), c.of(sqrtOneMinusAlphasCumprodNext), c.of(zero))
	return stepCoefficients{op: "DDIMReverseSample", rows: rows.table().Unscoped()}
}
