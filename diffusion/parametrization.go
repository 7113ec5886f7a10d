package diffusion

import "github.com/wangkuiyi/gotorch"

// ModelMeanType is the quantity that the network predicts: see [ModelMeanType.definition].
type ModelMeanType int

// The prediction types. Config selects Epsilon, XStart or Velocity. As in the reference, no
// flag selects PreviousX; the golden tests cover it.
const (
	Epsilon   ModelMeanType = iota // the noise in x_t
	XStart                         // x_0
	PreviousX                      // the mean of x_{t-1}
	Velocity                       // v = sqrt(alphaBar) epsilon - sqrt(1 - alphaBar) x_0: Salimans & Ho 2022 (arXiv 2202.00512), section 4
)

// ModelVarType is the source of the variance of p(x_{t-1} | x_t): see
// [ModelVarType.definition].
type ModelVarType int

// The variance types. As in the reference, no flag selects Learned; the golden tests
// cover it.
const (
	FixedLarge   ModelVarType = iota // beta_t
	FixedSmall                       // betaTilde_t
	LearnedRange                     // interpolated between both, equation 15: the network's v is -1 for betaTilde_t and 1 for beta_t
	Learned                          // the network predicts the log variance
)

// meanDefinition is the parametrization of a prediction type. The operators on tensors, the
// rows of the fused kernels and the training target all derive from it, so that a further
// prediction type is one more case in [ModelMeanType.definition].
type meanDefinition struct {
	xStart combination // the predicted x_0, of x_t and the prediction
	mean   combination // the mean of p(x_{t-1} | x_t), of x_0 (clipped on request), x_t and the prediction
	target combination // what the network is trained to predict, of x_0, x_t and the noise
}

// definition returns the parametrization of m.
func (m ModelMeanType) definition() meanDefinition {
	posteriorMean := combination{xStart: posteriorMeanCoef1, xT: posteriorMeanCoef2} // equation 11
	switch m {
	case XStart:
		return meanDefinition{
			xStart: combination{prediction: one},
			mean:   posteriorMean,
			target: combination{xStart: one},
		}
	case Velocity: // appendix D: x_0 is finite even where alphaBar is 0
		return meanDefinition{
			xStart: combination{xT: sqrtAlphasCumprod, prediction: -sqrtOneMinusAlphasCumprod},
			mean:   posteriorMean,
			target: combination{xStart: -sqrtOneMinusAlphasCumprod, noise: sqrtAlphasCumprod},
		}
	case PreviousX: // equation 11, solved for x_0
		return meanDefinition{
			xStart: combination{xT: -posteriorMeanCoefRatio, prediction: recipPosteriorMeanCoef1},
			mean:   combination{prediction: one},
			target: posteriorMean,
		}
	}
	return meanDefinition{ // equation 9, solved for x_0
		xStart: combination{xT: sqrtRecipAlphasCumprod, prediction: -sqrtRecipm1AlphasCumprod},
		mean:   posteriorMean,
		target: combination{noise: one},
	}
}

// epsilonOfXStart is the noise in x_t that is consistent with x_0: equation 9, solved for
// epsilon. After clipping x_0 it differs from the noise that the network predicted. It is
// finite even where alphaBar is 0.
var epsilonOfXStart = combination{xStart: -sqrtSNR, xT: recipSqrtOneMinusAlphasCumprod}

// varianceDefinition is the parametrization of a variance type. If learned, the log variance
// is (v+1)/2 maxLog + (1 - (v+1)/2) minLog for the network's output v: equation 15, with v
// in [-1, 1].
type varianceDefinition struct {
	learned  bool        // the network has 2C output channels: the prediction, then v
	variance coefficient // the fixed variance, which is not exp(maxLog) if that is clipped
	maxLog   coefficient // nats: the log variance if fixed, or at v = 1
	minLog   coefficient // nats, at v = -1
}

// definition returns the parametrization of v.
func (v ModelVarType) definition() varianceDefinition {
	switch v {
	case FixedSmall:
		return varianceDefinition{variance: posteriorVariance, maxLog: posteriorLogVariance}
	case LearnedRange:
		return varianceDefinition{learned: true, maxLog: logBeta, minLog: posteriorLogVariance}
	case Learned: // the log variance is v
		return varianceDefinition{learned: true, maxLog: one, minLog: -one}
	}
	return varianceDefinition{variance: fixedLargeVariance, maxLog: fixedLargeLogVariance}
}

// combination is a linear combination of x_0, x_t, the noise and the network's prediction.
// A zero coefficient omits the term.
type combination struct{ xStart, xT, noise, prediction coefficient }

// values are what a combination combines, [N, C, H, W]. Terms that are omitted may be
// undefined.
type values struct{ xStart, xT, noise, prediction gotorch.Tensor }

// at returns the combination of v at timesteps t.
func (c combination) at(t Timesteps, v values) (sum gotorch.Tensor) {
	for _, term := range []struct {
		factor coefficient
		value  gotorch.Tensor
	}{{c.xStart, v.xStart}, {c.xT, v.xT}, {c.noise, v.noise}, {c.prediction, v.prediction}} {
		switch {
		case term.factor == zero:
		case sum.Defined():
			sum = sum.Addcmul(t.extract(term.factor), term.value, 1)
		case term.factor == one:
			sum = term.value
		default:
			sum = t.extract(term.factor).Mul(term.value)
		}
	}
	return sum
}

// logVariance returns the log variance, nats, for the network's output v. The order of
// operations is the reference's.
func (d varianceDefinition) logVariance(v gotorch.Tensor, t Timesteps) gotorch.Tensor {
	if !d.learned {
		return t.extract(d.maxLog)
	}
	frac := v.AddScalar(1).MulScalarI(0.5)
	rest := frac.Neg().AddScalarI(1)
	return frac.Mul(t.extract(d.maxLog)).Add(rest.Mul(t.extract(d.minLog)), 1)
}

// lossRows are the columns of gotorch.DiffusionLosses' rows, in order.
func (c coefficients) lossRows(m meanDefinition, v varianceDefinition) []gotorch.Tensor {
	// The error of the mean is -scale times the error of the prediction.
	scale := c.of(m.mean.xStart).Mul(c.of(m.xStart.prediction)).Add(c.of(m.mean.prediction), 1).Neg()
	return []gotorch.Tensor{scale, c.of(v.maxLog), c.of(v.minLog), c.of(posteriorLogVariance), c.of(nonzeroMask)}
}

// reverseRows are the columns of gotorch.DiffusionReverseStep's rows, float64 [T].
type reverseRows struct {
	xStartOfXT, xStartOfPrediction          gotorch.Tensor // the predicted x_0
	nextOfXStart, nextOfXT, nextOfPredicted gotorch.Tensor // the next image without noise
	logVariance, logVarianceOfV             gotorch.Tensor // at v = 0, and its derivative
	noise                                   gotorch.Tensor // standard deviations of noise that are added
}

// table returns the rows in the kernel's order, float32 [T, ReverseStepColumns].
func (r reverseRows) table() gotorch.Tensor {
	return gotorch.Stack([]gotorch.Tensor{
		r.xStartOfXT, r.xStartOfPrediction, r.nextOfXStart, r.nextOfXT, r.nextOfPredicted, r.logVariance, r.logVarianceOfV, r.noise,
	}, 1).CastTo(gotorch.Float)
}

// ancestralRows are the rows of PSample: equations 3, 11 and 15.
func (c coefficients) ancestralRows(m meanDefinition, v varianceDefinition) reverseRows {
	r := reverseRows{
		xStartOfXT: c.of(m.xStart.xT), xStartOfPrediction: c.of(m.xStart.prediction),
		nextOfXStart: c.of(m.mean.xStart), nextOfXT: c.of(m.mean.xT), nextOfPredicted: c.of(m.mean.prediction),
		logVariance: c.of(v.maxLog), logVarianceOfV: c.of(zero), noise: c.of(nonzeroMask),
	}
	if v.learned {
		r.logVariance = c.of(v.maxLog).Add(c.of(v.minLog), 1).MulScalar(0.5)
		r.logVarianceOfV = c.of(v.maxLog).Sub(c.of(v.minLog), 1).MulScalar(0.5)
	}
	return r
}

// ddimRows are the rows of equation 12 of the DDIM paper: xStartFactor times the predicted
// x_0, plus epsilonFactor times the noise consistent with it (after clipping not the
// predicted noise), plus sigma times new noise.
func (c coefficients) ddimRows(m meanDefinition, xStartFactor, epsilonFactor, sigma gotorch.Tensor) reverseRows {
	return reverseRows{
		xStartOfXT: c.of(m.xStart.xT), xStartOfPrediction: c.of(m.xStart.prediction),
		nextOfXStart:    xStartFactor.Add(epsilonFactor.Mul(c.of(epsilonOfXStart.xStart)), 1),
		nextOfXT:        epsilonFactor.Mul(c.of(epsilonOfXStart.xT)),
		nextOfPredicted: c.of(zero),
		logVariance:     c.of(zero), logVarianceOfV: c.of(zero), noise: sigma,
	}
}
