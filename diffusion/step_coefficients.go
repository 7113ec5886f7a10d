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

// guided returns c with classifier guidance; g may be nil.
func (c stepCoefficients) guided(g *ClassifierGuidance) stepCoefficients {
	if g != nil && g.Scale != 0 {
		c.classifier = g
	}
	return c
}

// ancestralCoefficients are the coefficients of PSample.
func (c coefficients) ancestralCoefficients(m meanDefinition, v varianceDefinition) stepCoefficients {
	return stepCoefficients{op: "PSample", addsNoise: true, rows: c.ancestralRows(m, v).table().Unscoped()}
}

// ddimCoefficients returns the coefficients of DDIMSample, and as rows in float64.
func (c coefficients) ddimCoefficients(m meanDefinition, eta float64) (reverseRows, stepCoefficients) {
	variance := c.of(posteriorVariance).MulScalar(eta * eta) // sigma^2; 0 at t = 0
	epsilonFactor := c.of(oneMinusAlphasCumprodPrev).Sub(variance, 1).ClampMin(0).Sqrt()
	rows := c.ddimRows(m, c.of(sqrtAlphasCumprodPrev), epsilonFactor, variance.Sqrt())
	return rows, stepCoefficients{
		op: "DDIMSample", addsNoise: eta != 0, rows: rows.table().Unscoped(),
		shifts: c.ddimShifts(c.of(sqrtAlphasCumprodPrev), epsilonFactor),
	}
}

// ddimReverseCoefficients are the coefficients of DDIMReverseSample.
func (c coefficients) ddimReverseCoefficients(m meanDefinition) stepCoefficients {
	rows := c.ddimRows(m, c.of(sqrtAlphasCumprodNext), c.of(sqrtOneMinusAlphasCumprodNext), c.of(zero))
	return stepCoefficients{op: "DDIMReverseSample", rows: rows.table().Unscoped()}
}
