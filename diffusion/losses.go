package diffusion

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// NormalKL returns the divergence of N(mean1, exp(logVar1)) from N(mean2,
// exp(logVar2)), in nats per element; shapes broadcast. Where both are nearly the
// same the terms cancel, and what is left is their rounding: so they are added in
// the reference's order.
func NormalKL(mean1, logVar1, mean2, logVar2 gotorch.Tensor) gotorch.Tensor {
	difference := mean1.Sub(mean2, 1)
	distance := difference.Mul(difference).Mul(logVar2.Neg().Exp())
	ratio := logVar1.Sub(logVar2, 1).Exp()
	return logVar2.AddScalar(-1).Sub(logVar1, 1).Add(ratio, 1).Add(distance, 1).MulScalarI(0.5)
}

// DiscretizedGaussianLogLikelihood returns the log probability, in nats per
// element, that N(means, exp(2 logScales)) gives to x's bin out of 256 over
// [-1, 1]; the outermost bins reach to infinity. x and means are [N, C, H, W],
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

// logOfProbability keeps a vanishing probability's logarithm finite.
func logOfProbability(p gotorch.Tensor) gotorch.Tensor { return p.ClampMin(1e-12).Log() }

// approxStandardNormalCDF is the tanh approximation that the published numbers
// were computed with.
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

// vbTermsBPD returns the variational bound's term of step t, bits/dim [N]: the
// decoder's at t = 0 (equation 5), else the divergence of the model's step back
// from the true one (equation 6). Only what some t of the batch needs is
// computed.
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
	return gotorch.Where(t.extract(colNonzeroMask).View(-1).EqScalar(0), decoder, kl)
}

// Losses are the terms of the training objective, each [N] in float32.
type Losses struct {
	Loss gotorch.Tensor // what training minimises
	MSE  gotorch.Tensor // L_simple's term; undefined for KL and RescaledKL
	VB   gotorch.Tensor // the bound's term, bits/dim, times T/1000 for RescaledMSE; undefined where the variance is fixed, and for KL and RescaledKL, where Loss is it
}

// TrainingLosses noises xStart to step t and measures the network's prediction
// of what was done: equation 14, 16 or 4, by the LossType. All are [N, C, H, W].
func (d *GaussianDiffusion) TrainingLosses(denoise Denoiser, xStart gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond) Losses {
	return d.losses(denoise, xStart, d.QSample(xStart, t, noise), t, noise, cond)
}

// DrawTrainingLosses is TrainingLosses with gotorch.PhiloxNormal's noise under a
// key: one kernel draws it and makes x_t of it.
func (d *GaussianDiffusion) DrawTrainingLosses(denoise Denoiser, xStart gotorch.Tensor, t Timesteps, key gotorch.PhiloxKey, cond Cond) Losses {
	xT, noise := gotorch.DiffusionQSample(xStart, t.coefficientRows(colQSample, gotorch.QSampleColumns, xStart.Size(0)), key)
	return d.losses(denoise, xStart, xT, t, noise, cond)
}

// losses measures what the network predicts of x_t.
func (d *GaussianDiffusion) losses(denoise Denoiser, xStart, xT gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond) Losses {
	out := d.modelOutput(denoise, xT, t, cond)
	boundOnly := d.LossType == KL || d.LossType == RescaledKL
	rows := t.coefficientRows(colLosses, gotorch.LossColumns, xStart.Size(0))
	// Beside L_simple the bound teaches the variance alone: it is a poor guide to the mean.
	mse, vb := gotorch.DiffusionLosses(out, d.trainingTarget(xStart, xT, t, noise), xStart, rows, boundOnly || d.learnsVariance(), boundOnly)
	switch {
	case d.LossType == KL:
		return Losses{Loss: vb}
	case d.LossType == RescaledKL:
		return Losses{Loss: vb.MulScalar(float64(d.NumTimesteps()))}
	case !d.learnsVariance():
		return Losses{Loss: mse, MSE: mse}
	case d.LossType == RescaledMSE:
		vb = vb.MulScalar(float64(d.NumTimesteps()) / 1000)
	}
	return Losses{Loss: mse.Add(vb, 1), MSE: mse, VB: vb}
}

// trainingTarget returns what the network is to predict.
func (d *GaussianDiffusion) trainingTarget(xStart, xT gotorch.Tensor, t Timesteps, noise gotorch.Tensor) gotorch.Tensor {
	switch d.MeanType {
	case XStart:
		return xStart
	case PreviousX:
		mean, _, _ := d.QPosteriorMeanVariance(xStart, xT, t)
		return mean
	}
	return noise
}
