package diffusion

import (
	"slices"

	"github.com/wangkuiyi/gotorch"
)

// ModelMeanType is what the network predicts.
type ModelMeanType int

// The kinds of prediction. No Config asks for PreviousX: the reference has it, though
// its flags do not, and its numbers are compared with it.
const (
	Epsilon   ModelMeanType = iota // the noise in x_t
	XStart                         // x_0
	PreviousX                      // the mean of x_{t-1}
)

// ModelVarType is where the variance of p(x_{t-1} | x_t) comes from.
type ModelVarType int

// The kinds of variance. No Config asks for Learned: the reference has it, though its
// flags do not, and its numbers are compared with it.
const (
	FixedLarge   ModelVarType = iota // beta_t
	FixedSmall                       // betaTilde_t
	LearnedRange                     // between the two, equation 15: the network's v is -1 for betaTilde_t and 1 for beta_t
	Learned                          // the network gives the log variance
)

// LossType is what training minimises.
type LossType int

// The objectives. The first two are L_simple where the variance is fixed. No Config
// asks for KL: the reference has it, though its flags do not, and the terms that CalcBPD
// adds up are compared with it.
const (
	MSE         LossType = iota // L_simple, plus L_vlb's term of step t where the variance is learned
	RescaledMSE                 // the same with that term times T/1000: L_hybrid
	KL                          // L_vlb's term of step t
	RescaledKL                  // that term times T, an estimate of the whole L_vlb
)

// Objective is what the network predicts and how it is trained. The zero value
// is Ho et al.'s: noise, a fixed variance beta_t, L_simple.
type Objective struct {
	MeanType         ModelMeanType
	VarType          ModelVarType
	LossType         LossType
	RescaleTimesteps bool // the network sees 1000 t/T
}

// learnsVariance reports whether the network gives 2C channels.
func (o Objective) learnsVariance() bool { return o.VarType == LearnedRange || o.VarType == Learned }

// Cond is what a network is conditioned on besides the step. Either tensor is
// undefined where there is none.
type Cond struct {
	Y      gotorch.Tensor // class labels, int64 [N]
	LowRes gotorch.Tensor // the small images of super-resolution, [N, C, h, w]
}

// Denoiser is a network: it takes x_t [N, C, H, W] and the steps t, float32 [N],
// and returns [N, C, H, W], or [N, 2C, H, W] where it also predicts variances.
type Denoiser func(x, t gotorch.Tensor, cond Cond) gotorch.Tensor

// GaussianDiffusion is a diffusion process of T steps, respaced or not.
type GaussianDiffusion struct {
	Schedule
	Objective
	TimestepMap      []int // the step of the original process that each step is
	OriginalNumSteps int   // T of the original process, on which the network is trained

	scaledTimesteps []float32      // [T], the steps as the network sees them: the reference's _scale_timesteps
	table           gotorch.Tensor // [T, columns]
	device          gotorch.Device

	pSample, ddimReverseSample stepCoefficients
	ddimSample                 map[float64]stepCoefficients // by eta, as they are asked for
}

func newGaussian(s Schedule, useTimesteps []int, originalNumSteps int, o Objective, device gotorch.Device) (*GaussianDiffusion, error) {
	d := &GaussianDiffusion{Schedule: s, Objective: o, TimestepMap: useTimesteps, OriginalNumSteps: originalNumSteps, device: device, ddimSample: map[float64]stepCoefficients{}}
	scale := float32(1)
	if o.RescaleTimesteps {
		scale = float32(1000 / float64(originalNumSteps))
	}
	d.scaledTimesteps = make([]float32, len(useTimesteps))
	for i, t := range useTimesteps {
		d.scaledTimesteps[i] = float32(t) * scale
	}
	err := gotorch.Try(func() {
		d.table = d.newTable(func(t int) []float64 { c := d.coefficients(t); return c[:] })
		d.pSample, d.ddimReverseSample = d.pSampleCoefficients(), d.ddimReverseSampleCoefficients()
	})
	return d, err
}

// linearCombination returns a x + b y.
func linearCombination(a, x, b, y gotorch.Tensor) gotorch.Tensor {
	return a.Mul(x).Addcmul(b, y, 1)
}

// QMeanVariance returns the mean [N, C, H, W], the variance and the log variance
// (nats) [N, 1, 1, 1] of q(x_t | x_0): equation 8.
func (d *GaussianDiffusion) QMeanVariance(xStart gotorch.Tensor, t Timesteps) (mean, variance, logVariance gotorch.Tensor) {
	return t.extract(colSqrtAlphasCumprod).Mul(xStart), t.extract(colOneMinusAlphasCumprod), t.extract(colLogOneMinusAlphasCumprod)
}

// QSample returns x_t, all [N, C, H, W]: equation 9.
func (d *GaussianDiffusion) QSample(xStart gotorch.Tensor, t Timesteps, noise gotorch.Tensor) gotorch.Tensor {
	mustMatch("QSample", "noise", noise, xStart)
	return linearCombination(t.extract(colSqrtAlphasCumprod), xStart, t.extract(colSqrtOneMinusAlphasCumprod), noise)
}

// QPosteriorMeanVariance returns the mean [N, C, H, W], the variance and the
// clipped log variance (nats) [N, 1, 1, 1] of q(x_{t-1} | x_t, x_0): equations
// 10 to 12.
func (d *GaussianDiffusion) QPosteriorMeanVariance(xStart, xT gotorch.Tensor, t Timesteps) (mean, variance, logVariance gotorch.Tensor) {
	mean = linearCombination(t.extract(colPosteriorMeanCoef1), xStart, t.extract(colPosteriorMeanCoef2), xT)
	return mean, t.extract(colPosteriorVariance), t.extract(colPosteriorLogVariance)
}

// Prediction is what a network's output says about one step back.
type Prediction struct {
	Mean        gotorch.Tensor // of p(x_{t-1} | x_t), [N, C, H, W]
	Variance    gotorch.Tensor // [N, C, H, W], or [N, 1, 1, 1] where it is fixed
	LogVariance gotorch.Tensor // nats, shaped as Variance
	PredXStart  gotorch.Tensor // the x_0 that the output implies, [N, C, H, W]
}

// PMeanVariance asks the network for p(x_{t-1} | x_t), equation 3. clipDenoised
// clips the predicted x_0 to [-1, 1], as sampling and likelihoods do and training
// does not.
func (d *GaussianDiffusion) PMeanVariance(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond, clipDenoised bool) Prediction {
	mean, variance := d.splitModelOutput(denoise, x, t, cond)
	p := d.predictionOf(mean, variance, x, t, clipDenoised)
	switch d.VarType {
	case FixedLarge:
		p.Variance = t.extract(colFixedLargeVariance)
	case FixedSmall: // not exp(LogVariance), which is clipped at t = 0
		p.Variance = t.extract(colPosteriorVariance)
	default:
		p.Variance = p.LogVariance.Exp()
	}
	return p
}

// splitModelOutput runs the network and splits what it gives into the prediction
// and, where variances are learned, the variance's values.
func (d *GaussianDiffusion) splitModelOutput(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond) (mean, variance gotorch.Tensor) {
	modelOutput := d.modelOutput(denoise, x, t, cond)
	if !d.learnsVariance() {
		return modelOutput, gotorch.Tensor{}
	}
	halves := modelOutput.Chunk(2, 1)
	return halves[0], halves[1]
}

// modelOutput runs the network and returns what it gives, in float32.
func (d *GaussianDiffusion) modelOutput(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond) gotorch.Tensor {
	out := denoise(x, t.scaled, cond).CastTo(gotorch.Float)
	want := x.Shape()
	if d.learnsVariance() {
		want[1] *= 2
	}
	if got := out.Shape(); !slices.Equal(got, want) {
		refuse("Denoiser", "the network turned x %v into %v, but this diffusion needs %v: its learn_sigma and the network's channels must agree", x.Shape(), got, want)
	}
	return out
}

// predictionOf turns a network's outputs into all of Prediction but the variance.
func (d *GaussianDiffusion) predictionOf(mean, variance, x gotorch.Tensor, t Timesteps, clipDenoised bool) Prediction {
	p := Prediction{LogVariance: d.logVariance(variance, t), PredXStart: d.predictXStart(mean, x, t)}
	if clipDenoised {
		p.PredXStart = p.PredXStart.Clamp(-1, 1)
	}
	p.Mean = mean
	if d.MeanType != PreviousX {
		p.Mean, _, _ = d.QPosteriorMeanVariance(p.PredXStart, x, t)
	}
	return p
}

// predictXStart returns the x_0 that the network's prediction and x_t imply.
func (d *GaussianDiffusion) predictXStart(prediction, x gotorch.Tensor, t Timesteps) gotorch.Tensor {
	switch d.MeanType {
	case XStart:
		return prediction
	case PreviousX:
		ratio := t.extract(colPosteriorMeanCoefRatio)
		return t.extract(colRecipPosteriorMeanCoef1).Mul(prediction).Addcmul(ratio, x, -1)
	}
	return t.extract(colSqrtRecipAlphasCumprod).Mul(x).Addcmul(t.extract(colSqrtRecipm1AlphasCumprod), prediction, -1)
}

// predictEpsFromXStart returns the noise in x_t that a predicted x_0 implies.
func (d *GaussianDiffusion) predictEpsFromXStart(predXStart, x gotorch.Tensor, t Timesteps) gotorch.Tensor {
	return t.extract(colSqrtRecipAlphasCumprod).Mul(x).SubI(predXStart, 1).DivI(t.extract(colSqrtRecipm1AlphasCumprod))
}

// logVariance returns the model's log variance, nats. For LearnedRange it is
// equation 15 with v running from -1 to 1, rounded as the reference does.
func (d *GaussianDiffusion) logVariance(v gotorch.Tensor, t Timesteps) gotorch.Tensor {
	switch d.VarType {
	case FixedSmall:
		return t.extract(colPosteriorLogVariance)
	case LearnedRange:
		share := v.AddScalar(1).MulScalarI(0.5)
		rest := share.Neg().AddScalarI(1)
		return share.Mul(t.extract(colLogBeta)).Add(rest.Mul(t.extract(colPosteriorLogVariance)), 1)
	case Learned:
		return v
	}
	return t.extract(colFixedLargeLogVariance)
}

func mustMatch(op, name string, got, want gotorch.Tensor) {
	if g, w := got.Shape(), want.Shape(); !slices.Equal(g, w) {
		refuse(op, "%s is %v, want %v", name, g, w)
	}
}
