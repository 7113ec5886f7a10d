package diffusion

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// NormalKL returns the KL divergence of N(mean1, exp(logVar1)) from N(mean2,
// exp(logVar2)), in nats per element; shapes broadcast. For nearly equal Gaussians
// the terms cancel and rounding dominates, so the order of the sum is the reference's.
func NormalKL(mean1, logVar1, mean2, logVar2 gotorch.Tensor) gotorch.Tensor {
	difference := mean1.Sub(mean2, 1)
	distance := difference.Mul(difference).Mul(logVar2.Neg().Exp())
	ratio := logVar1.Sub(logVar2, 1).Exp()
	return logVar2.AddScalar(-1).Sub(logVar1, 1).Add(ratio, 1).Add(distance, 1).MulScalarI(0.5)
}

// DiscretizedGaussianLogLikelihood returns the log-probability, in nats per
// element, of x's bin under N(means, exp(2 logScales)). There are 256 bins over
// [-1, 1]; the outermost ones extend to infinity. x and means are [N, C, H, W],
// logScales may broadcast.
func DiscretizedGaussianLogLikelihood(x, means, logScales gotorch.Tensor) gotorch.Tensor {
	centered := x.Sub(means, 1)
	invStdv := logScales.Neg().Exp()
	cdfPlus := approxStandardNormalCDF(centered.AddScalar(1. / 255).Mul(invStdv))
	cdfMin := approxStandardNormalCDF(centered.AddScalar(-1. / 255).Mul(invStdv))
	lowest := logOfProbability(cdfPlus)
	highest := logOfProbability(cdfMin.Neg().AddScalarI(1))
	between := logOfProbability(cdfPlus.Sub(cdfMin, 1))
	return gotorch.Where(x.LessScalar(-0.999), lowest, gotorch.Where(x.GreaterScalar(0.999), highest, between))
}

// logOfProbability clamps p, so that the logarithm is finite.
func logOfProbability(p gotorch.Tensor) gotorch.Tensor { return p.ClampMin(1e-12).Log() }

// approxStandardNormalCDF is the tanh approximation that the reference uses.
func approxStandardNormalCDF(x gotorch.Tensor) gotorch.Tensor {
	cubic := x.Mul(x).Mul(x).MulScalarI(0.044715).AddI(x, 1)
	return cubic.MulScalarI(math.Sqrt(2 / math.Pi)).Tanh().AddScalar(1).MulScalarI(0.5)
}

// meanFlat averages over all dimensions but the first.
func meanFlat(t gotorch.Tensor) gotorch.Tensor { return t.MeanDims(false, 1, 2, 3) }

// squaredError returns the mean squared difference per image, [N].
func squaredError(a, b gotorch.Tensor) gotorch.Tensor {
	difference := a.Sub(b, 1)
	return meanFlat(difference.Mul(difference))
}

// bitsPerDim averages nats per element into bits per dimension, [N].
func bitsPerDim(nats gotorch.Tensor) gotorch.Tensor { return meanFlat(nats).MulScalar(1 / math.Ln2) }

// vbTermsBPD returns the variational bound's term at t, bits/dim [N]: the decoder's
// negative log-likelihood at t = 0 (equation 5), else the KL divergence of the
// posterior q(x_{t-1} | x_t, x_0) from the model's p(x_{t-1} | x_t) (equation 6). It
// computes a term only if some t of the batch may need it.
func (d *GaussianDiffusion) vbTermsBPD(p Prediction, xStart, xT gotorch.Tensor, t Timesteps) gotorch.Tensor {
	var kl, decoder gotorch.Tensor
	if t.mayIncludeNonzero() {
		mean, _, logVariance := d.QPosteriorMeanVariance(xStart, xT, t)
		kl = bitsPerDim(NormalKL(mean, logVariance, p.Mean, p.LogVariance))
	}
	if t.mayIncludeZero() {
		logScales := p.LogVariance.MulScalar(0.5)
		decoder = bitsPerDim(DiscretizedGaussianLogLikelihood(xStart, p.Mean, logScales)).Neg()
	}
	switch {
	case !decoder.Defined():
		return kl
	case !kl.Defined():
		return decoder
	}
	return gotorch.Where(t.extract(nonzeroMask).View(-1).EqScalar(0), decoder, kl)
}

// Losses are the terms of the training objective, each [N] in float32.
type Losses struct {
	Loss gotorch.Tensor // the objective
	MSE  gotorch.Tensor // L_simple at t, without its LossWeight; undefined for KL and RescaledKL
	VB   gotorch.Tensor // the bound's term at t, bits/dim, times T/1000 for RescaledMSE; undefined for fixed variances and for KL and RescaledKL
}

// TrainingLosses computes x_t from xStart and noise, evaluates the network and returns
// the losses of equation 14, 16 or 4, by the LossType. Images are [N, C, H, W].
func (d *GaussianDiffusion) TrainingLosses(denoise Denoiser, xStart gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond) Losses {
	return d.losses(denoise, xStart, d.QSample(xStart, t, noise), t, noise, cond)
}

// DrawTrainingLosses is TrainingLosses with the noise of gotorch.PhiloxNormal under
// key: one kernel draws it and computes x_t.
func (d *GaussianDiffusion) DrawTrainingLosses(denoise Denoiser, xStart gotorch.Tensor, t Timesteps, key gotorch.PhiloxKey, cond Cond) Losses {
	xT, noise := gotorch.DiffusionQSample(xStart, t.qSampleRows(xStart.Size(0)), key)
	return d.losses(denoise, xStart, xT, t, noise, cond)
}

// DrawQSample returns x_t [N, C, H, W] with the noise of gotorch.PhiloxNormal under key, as
// [GaussianDiffusion.DrawTrainingLosses] draws it.
func (d *GaussianDiffusion) DrawQSample(xStart gotorch.Tensor, t Timesteps, key gotorch.PhiloxKey) gotorch.Tensor {
	xT, _ := gotorch.DiffusionQSample(xStart, t.qSampleRows(xStart.Size(0)), key)
	return xT
}

// losses evaluates the network at x_t and returns the losses.
func (d *GaussianDiffusion) losses(denoise Denoiser, xStart, xT gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond) Losses {
	out := d.modelOutput(denoise, xT, t, cond)
	boundOnly := d.LossType == KL || d.LossType == RescaledKL
	rows := t.lossRows(xStart.Size(0))
	// In L_hybrid the bound trains the variance only: its gradient stops at the mean.
	mse, vb := gotorch.DiffusionLosses(out, d.trainingTarget(xStart, xT, t, noise), xStart, rows, boundOnly || d.learnsVariance(), boundOnly)
	switch d.LossType {
	case KL:
		return Losses{Loss: vb}
	case RescaledKL:
		return Losses{Loss: vb.MulScalar(float64(d.NumTimesteps()))}
	}
	simple := mse
	if d.LossWeight.Kind != Unweighted {
		simple = mse.Mul(t.lossWeights(xStart.Size(0)))
	}
	switch {
	case !d.learnsVariance():
		return Losses{Loss: simple, MSE: mse}
	case d.LossType == RescaledMSE:
		vb = vb.MulScalar(float64(d.NumTimesteps()) / 1000)
	}
	return Losses{Loss: simple.Add(vb, 1), MSE: mse, VB: vb}
}

// trainingTarget returns the network's regression target.
func (d *GaussianDiffusion) trainingTarget(xStart, xT gotorch.Tensor, t Timesteps, noise gotorch.Tensor) gotorch.Tensor {
	return d.MeanType.definition().target.at(t, values{xStart: xStart, xT: xT, noise: noise})
}
