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
