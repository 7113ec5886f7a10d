package diffusion

import "github.com/wangkuiyi/gotorch"

// coefficient is a function of t: a column of the table of coefficients, or the negative of
// that column if below 0.
type coefficient int64

const (
	zero                           coefficient = iota
	one                                        // 1
	scaledTimestep                             // the timestep that the network receives: the reference's _scale_timesteps
	nonzeroMask                                // 0 at t = 0, else 1
	sqrtAlphasCumprod                          // x_0's factor in x_t; the first of gotorch.QSampleColumns
	sqrtOneMinusAlphasCumprod                  // the noise's factor in x_t
	oneMinusAlphasCumprod                      // the variance of q(x_t | x_0)
	logOneMinusAlphasCumprod                   // nats
	sqrtRecipAlphasCumprod                     // sqrt(1/alphaBar)
	sqrtRecipm1AlphasCumprod                   // sqrt(1/alphaBar - 1)
	recipSqrtOneMinusAlphasCumprod             // 1/sqrt(1 - alphaBar)
	sqrtSNR                                    // sqrt(alphaBar/(1 - alphaBar))
	sqrtAlphasCumprodPrev
	oneMinusAlphasCumprodPrev
	sqrtAlphasCumprodNext
	sqrtOneMinusAlphasCumprodNext
	posteriorMeanCoef1
	posteriorMeanCoef2
	recipPosteriorMeanCoef1 // 1/coef1
	posteriorMeanCoefRatio  // coef2/coef1
	posteriorVariance
	posteriorLogVariance  // clipped
	logBeta               // nats
	fixedLargeVariance    // beta; betaTilde_1 at t = 0, for a better decoder likelihood
	fixedLargeLogVariance // nats
	numCoefficients
)

// coefficients is the table of coefficients, float64 [T, numCoefficients].
type coefficients struct{ gotorch.Tensor }

// of returns a coefficient, float64 [T].
func (c coefficients) of(k coefficient) gotorch.Tensor {
	if k < 0 {
		return c.Select(1, int64(-k)).Neg()
	}
	return c.Select(1, int64(k))
}

// newCoefficients computes the table from a schedule and the timesteps that the network
// receives, [T].
func newCoefficients(s deviceSchedule, scaledTimesteps gotorch.Tensor) coefficients {
	var c [numCoefficients]gotorch.Tensor
	steps := s.betas.Numel()
	c[zero] = gotorch.ZerosLike(s.betas)
	c[one] = oneMinus(c[zero])
	c[scaledTimestep] = scaledTimesteps.CastTo(gotorch.Double)
	c[nonzeroMask] = gotorch.Cat([]gotorch.Tensor{c[zero].Narrow(0, 0, 1), c[one].Narrow(0, 1, steps-1)}, 0)

	c[sqrtAlphasCumprod] = s.alphasCumprod.Sqrt()
	c[sqrtOneMinusAlphasCumprod] = oneMinus(s.alphasCumprod).Sqrt()
	c[oneMinusAlphasCumprod] = oneMinus(s.alphasCumprod)
	c[logOneMinusAlphasCumprod] = oneMinus(s.alphasCumprod).Log()
	c[sqrtRecipAlphasCumprod] = s.alphasCumprod.PowScalar(-1).Sqrt()
	c[sqrtRecipm1AlphasCumprod] = s.alphasCumprod.PowScalar(-1).AddScalar(-1).Sqrt()
	c[recipSqrtOneMinusAlphasCumprod] = oneMinus(s.alphasCumprod).PowScalar(-0.5)
	c[sqrtSNR] = s.alphasCumprod.Div(oneMinus(s.alphasCumprod)).Sqrt()
	c[sqrtAlphasCumprodPrev] = s.alphasCumprodPrev.Sqrt()
	c[oneMinusAlphasCumprodPrev] = oneMinus(s.alphasCumprodPrev)
	c[sqrtAlphasCumprodNext] = s.alphasCumprodNext.Sqrt()
	c[sqrtOneMinusAlphasCumprodNext] = oneMinus(s.alphasCumprodNext).Sqrt()

	c[posteriorMeanCoef1] = s.posteriorMeanCoef1
	c[posteriorMeanCoef2] = s.posteriorMeanCoef2
	c[recipPosteriorMeanCoef1] = s.posteriorMeanCoef1.PowScalar(-1)
	c[posteriorMeanCoefRatio] = s.posteriorMeanCoef2.Div(s.posteriorMeanCoef1)
	c[posteriorVariance] = s.posteriorVariance
	c[posteriorLogVariance] = s.posteriorLogVarianceClipped
	c[logBeta] = s.betas.Log()
	c[fixedLargeVariance] = gotorch.Cat([]gotorch.Tensor{s.posteriorVariance.Narrow(0, 1, 1), s.betas.Narrow(0, 1, steps-1)}, 0)
	c[fixedLargeLogVariance] = c[fixedLargeVariance].Log()
	return coefficients{gotorch.Stack(c[:], 1)}
}
