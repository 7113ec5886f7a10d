package diffusion

import (
	"slices"

	"github.com/wangkuiyi/gotorch"
)

// LossType is the training objective.
type LossType int

// The objectives. The first two are L_simple if the variance is fixed. As in the
// reference, no flag selects KL; tests compare CalcBPD's terms with it.
const (
	MSE         LossType = iota // L_simple, plus L_vlb's term at t if the variance is learned
	RescaledMSE                 // the same, the term weighted by T/1000: L_hybrid
	KL                          // L_vlb's term at t
	RescaledKL                  // the term times T, an unbiased estimate of L_vlb
)

// Objective selects the prediction type, the variance type and the loss. The zero
// value is Ho et al.'s: noise prediction, fixed variance beta_t, L_simple.
type Objective struct {
	MeanType         ModelMeanType
	VarType          ModelVarType
	LossType         LossType
	LossWeight       LossWeight // of L_simple
	RescaleTimesteps bool       // scale the timesteps that the network receives to 1000 t/T
}

// learnsVariance reports whether the network has 2C output channels.
func (o Objective) learnsVariance() bool { return o.VarType.definition().learned }

// Cond is the network's conditioning besides the timestep. Either tensor may be
// undefined.
type Cond struct {
	Y      gotorch.Tensor // class labels, int64 [N]
	LowRes gotorch.Tensor // the low-resolution images of super-resolution, [N, C, h, w]
}

// Denoiser evaluates the network at x_t [N, C, H, W] and timesteps t, float32 [N]. It
// returns [N, C, H, W], or [N, 2C, H, W] if it also predicts variances.
type Denoiser func(x, t gotorch.Tensor, cond Cond) gotorch.Tensor

// GaussianDiffusion is a diffusion process of T steps, respaced or not.
type GaussianDiffusion struct {
	Schedule
	Objective
	TimestepMap      []int // the timestep of the original process of each timestep
	OriginalNumSteps int   // T of the original process, which the network is trained on

	coefficients coefficients
	table        gotorch.Tensor // coefficients, then the rows of gotorch.DiffusionLosses, then the loss weights: float32 [T, ...]
	device       gotorch.Device

	pSample, ddimReverseSample stepCoefficients
	samplers                   map[samplerKey]stepCoefficients // computed on first use
}

// newGaussian creates a diffusion from betas, float64 [T], on their device. Its tensors
// outlive the scope.
func newGaussian(betas gotorch.Tensor, host Schedule, useTimesteps []int, originalNumSteps int, o Objective) *GaussianDiffusion {
	d := &GaussianDiffusion{Schedule: host, Objective: o, TimestepMap: useTimesteps, OriginalNumSteps: originalNumSteps, device: betas.Device(), samplers: map[samplerKey]stepCoefficients{}}
	c := newCoefficients(newDeviceSchedule(betas), d.scaledTimesteps())
	d.coefficients = coefficients{c.Unscoped()}
	losses := gotorch.Stack(append(c.lossRows(o.MeanType.definition(), o.VarType.definition()), c.lossWeights(o.LossWeight, o.MeanType.definition())), 1)
	d.table = gotorch.Cat([]gotorch.Tensor{c.Tensor, losses}, 1).CastTo(gotorch.Float).Unscoped()
	d.pSample, d.ddimReverseSample = d.pSampleCoefficients(), d.ddimReverseSampleCoefficients()
	return d
}

// scaledTimesteps returns the timesteps that the network receives, float32 [T]: the
// reference's _scale_timesteps.
func (d *GaussianDiffusion) scaledTimesteps() gotorch.Tensor {
	original := make([]float32, len(d.TimestepMap))
	for i, t := range d.TimestepMap {
		original[i] = float32(t)
	}
	scaled := gotorch.FromFloat32s(original).To(d.device)
	if d.RescaleTimesteps {
		scaled = scaled.MulScalar(1000 / float64(d.OriginalNumSteps))
	}
	return scaled
}

// QMeanVariance returns the mean [N, C, H, W], the variance and the log variance
// (nats) [N, 1, 1, 1] of q(x_t | x_0): equation 8.
func (d *GaussianDiffusion) QMeanVariance(xStart gotorch.Tensor, t Timesteps) (mean, variance, logVariance gotorch.Tensor) {
	return t.extract(sqrtAlphasCumprod).Mul(xStart), t.extract(oneMinusAlphasCumprod), t.extract(logOneMinusAlphasCumprod)
}

// QSample returns x_t, all [N, C, H, W]: equation 9.
func (d *GaussianDiffusion) QSample(xStart gotorch.Tensor, t Timesteps, noise gotorch.Tensor) gotorch.Tensor {
	mustMatch("QSample", "noise", noise, xStart)
	xT := combination{xStart: sqrtAlphasCumprod, noise: sqrtOneMinusAlphasCumprod}
	return xT.at(t, values{xStart: xStart, noise: noise})
}

// QPosteriorMeanVariance returns the mean [N, C, H, W], the variance and the
// clipped log variance (nats) [N, 1, 1, 1] of q(x_{t-1} | x_t, x_0): equations
// 10 to 12.
func (d *GaussianDiffusion) QPosteriorMeanVariance(xStart, xT gotorch.Tensor, t Timesteps) (mean, variance, logVariance gotorch.Tensor) {
	c := combination{xStart: posteriorMeanCoef1, xT: posteriorMeanCoef2}
	return c.at(t, values{xStart: xStart, xT: xT}), t.extract(posteriorVariance), t.extract(posteriorLogVariance)
}

// Prediction is p(x_{t-1} | x_t) as derived from the network's output.
type Prediction struct {
	Mean        gotorch.Tensor // [N, C, H, W]
	Variance    gotorch.Tensor // [N, C, H, W], or [N, 1, 1, 1] if fixed
	LogVariance gotorch.Tensor // nats, shaped as Variance
	PredXStart  gotorch.Tensor // the predicted x_0, [N, C, H, W]
}

// PMeanVariance evaluates the network and returns p(x_{t-1} | x_t), equation 3.
// clipDenoised clips the predicted x_0 to [-1, 1], as sampling and likelihoods do and
// training does not.
func (d *GaussianDiffusion) PMeanVariance(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond, clipDenoised bool) Prediction {
	mean, variance := d.splitModelOutput(denoise, x, t, cond)
	p := d.predictionOf(mean, variance, x, t, clipDenoised)
	if c := d.VarType.definition(); c.learned {
		p.Variance = p.LogVariance.Exp()
	} else {
		p.Variance = t.extract(c.variance)
	}
	return p
}

// splitModelOutput evaluates the network and splits its output into the prediction
// and, if variances are learned, the variance's values.
func (d *GaussianDiffusion) splitModelOutput(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond) (mean, variance gotorch.Tensor) {
	modelOutput := d.modelOutput(denoise, x, t, cond)
	if !d.learnsVariance() {
		return modelOutput, gotorch.Tensor{}
	}
	halves := modelOutput.Chunk(2, 1)
	return halves[0], halves[1]
}

// modelOutput evaluates the network and returns its output in float32.
func (d *GaussianDiffusion) modelOutput(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond) gotorch.Tensor {
	out := denoise(x, t.scaled, cond).CastTo(gotorch.Float)
	want := x.Shape()
	if d.learnsVariance() {
		want[1] *= 2
	}
	if got := out.Shape(); !slices.Equal(got, want) {
		refuse("Denoiser", "the network's output for x %v is %v, this diffusion needs %v: learn_sigma must match the network's number of output channels", x.Shape(), got, want)
	}
	return out
}

// predictionOf derives a Prediction, except Variance, from the network's two outputs.
func (d *GaussianDiffusion) predictionOf(prediction, v, x gotorch.Tensor, t Timesteps, clipDenoised bool) Prediction {
	xStart := d.predictXStart(prediction, x, t, clipDenoised)
	return Prediction{
		Mean:        d.MeanType.definition().mean.at(t, values{xStart: xStart, xT: x, prediction: prediction}),
		LogVariance: d.VarType.definition().logVariance(v, t),
		PredXStart:  xStart,
	}
}

// predictXStart returns the predicted x_0.
func (d *GaussianDiffusion) predictXStart(prediction, x gotorch.Tensor, t Timesteps, clipDenoised bool) gotorch.Tensor {
	xStart := d.MeanType.definition().xStart.at(t, values{xT: x, prediction: prediction})
	if clipDenoised {
		xStart = xStart.Clamp(-1, 1)
	}
	return xStart
}

// predictEpsFromXStart returns the noise in x_t, given x_0.
func (d *GaussianDiffusion) predictEpsFromXStart(predXStart, x gotorch.Tensor, t Timesteps) gotorch.Tensor {
	return epsilonOfXStart.at(t, values{xStart: predXStart, xT: x})
}

func mustMatch(op, name string, got, want gotorch.Tensor) {
	if g, w := got.Shape(), want.Shape(); !slices.Equal(g, w) {
		refuse(op, "%s is %v, want %v", name, g, w)
	}
}
