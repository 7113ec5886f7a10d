package diffusion

import (
	"fmt"
	"math"

	"github.com/wangkuiyi/gotorch"
)

// ClassifierGuidance conditions a denoiser on the class by the gradient of a classifier of noisy
// images (Dhariwal & Nichol 2021, algorithms 1 and 2). Ancestral sampling shifts the mean by S
// times variance times gradient; DDIM shifts epsilon by -S sqrt(1 - alphaBar) gradient, after
// clipping x_0. Either is linear in the gradient, and added to the step without guidance.
type ClassifierGuidance struct {
	Scale float64 // S; 0: no guidance
	// Gradient returns the gradient of log p(y | x_t) by x_t, [N, C, H, W], for the timesteps and
	// labels that a network receives.
	Gradient func(x, t gotorch.Tensor, cond Cond) gotorch.Tensor
}

func (g *ClassifierGuidance) validate(cond Cond) error {
	switch {
	case g == nil:
		return nil
	case math.IsNaN(g.Scale) || math.IsInf(g.Scale, 0):
		return fmt.Errorf("classifier scale %v is not a number", g.Scale)
	case !cond.Y.Defined():
		return fmt.Errorf("classifier guidance needs class labels")
	}
	return nil
}

// GuidedPSample is PSample with classifier guidance.
func (d *GaussianDiffusion) GuidedPSample(g ClassifierGuidance, denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool) (sample, predXStart gotorch.Tensor) {
	return d.step(d.pSample.guided(&g), denoise, x, t, noise, cond, clipDenoised)
}

// GuidedDDIMSample is DDIMSample with classifier guidance. The predicted x_0 is shifted, too.
func (d *GaussianDiffusion) GuidedDDIMSample(g ClassifierGuidance, denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool, eta float64) (sample, predXStart gotorch.Tensor) {
	return d.step(d.samplerCoefficients(DDIM, eta).guided(&g), denoise, x, t, noise, cond, clipDenoised)
}

// guided returns c with classifier guidance; g may be nil.
func (c stepCoefficients) guided(g *ClassifierGuidance) stepCoefficients {
	if g != nil && g.Scale != 0 {
		c.classifier = g
	}
	return c
}

// gradientShifts are the factors of the classifier's gradient in a step, float32 [T, 2]: those of
// the next image and of the predicted x_0.
type gradientShifts struct{ gotorch.Tensor }

// ddimShifts returns the factors of DDIM: epsilon shifts by -sqrt(1 - alphaBar) gradient, so x_0
// by (1 - alphaBar) / sqrt(alphaBar) gradient.
func (c coefficients) ddimShifts(xStartFactor, epsilonFactor gotorch.Tensor) gradientShifts {
	xStart := c.of(oneMinusAlphasCumprod).Mul(c.of(sqrtRecipAlphasCumprod))
	// Where x_t has no signal a classifier has nothing to say, and x_0 would shift infinitely.
	xStart = gotorch.Where(c.of(sqrtAlphasCumprod).EqScalar(0), c.of(zero), xStart)
	next := xStartFactor.Mul(xStart).Sub(epsilonFactor.Mul(c.of(sqrtOneMinusAlphasCumprod)), 1)
	return gradientShifts{gotorch.Stack([]gotorch.Tensor{next, xStart}, 1).CastTo(gotorch.Float).Unscoped()}
}

// shift adds the guidance of c.classifier to a step from x.
func (d *GaussianDiffusion) shift(c stepCoefficients, modelOutput, x gotorch.Tensor, t Timesteps, cond Cond, next, predXStart gotorch.Tensor) (gotorch.Tensor, gotorch.Tensor) {
	gradient := c.classifier.Gradient(x, t.scaled, cond).CastTo(gotorch.Float)
	scale := c.classifier.Scale
	if !c.shifts.Defined() {
		return next.Addcmul(d.variance(modelOutput, t), gradient, scale), predXStart
	}
	shifts := t.extractRows(c.shifts.Tensor)
	factor := func(i int64) gotorch.Tensor { return shifts.Narrow(1, i, 1).View(-1, 1, 1, 1) }
	return next.Addcmul(factor(0), gradient, scale), predXStart.Addcmul(factor(1), gradient, scale)
}

// variance returns the variance of p(x_{t-1} | x_t), [N, C, H, W], or [N, 1, 1, 1] if fixed.
func (d *GaussianDiffusion) variance(modelOutput gotorch.Tensor, t Timesteps) gotorch.Tensor {
	v := d.VarType.definition()
	if !v.learned {
		return t.extract(v.variance)
	}
	return v.logVariance(modelOutput.Chunk(2, 1)[1], t).Exp()
}
