package diffusion

import (
	"slices"

	"github.com/wangkuiyi/gotorch"
)

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

// samplerKey is the key of the cache of samplers' coefficients.
type samplerKey struct {
	sampler Sampler
	eta     float64
}

// newGaussian creates a diffusion from betas, float64 [T], on their device. Its tensors
// outlive the scope.
func newGaussian(betas gotorch.Tensor, host Schedule, useTimesteps []int, originalNumSteps int, o Objective) *GaussianDiffusion {
	d := &GaussianDiffusion{Schedule: host, Objective: o, TimestepMap: useTimesteps, OriginalNumSteps: originalNumSteps, device: betas.Device(), samplers: map[samplerKey]stepCoefficients{}}
	m, v := o.MeanType.definition(), o.VarType.definition()
	c := newCoefficients(newDeviceSchedule(betas), d.scaledTimesteps())
	d.coefficients = coefficients{c.Unscoped()}
	losses := gotorch.Stack(append(c.lossRows(m, v), c.lossWeights(o.LossWeight, m)), 1)
	d.table = gotorch.Cat([]gotorch.Tensor{c.Tensor, losses}, 1).CastTo(gotorch.Float).Unscoped()
	d.pSample, d.ddimReverseSample = d.coefficients.ancestralCoefficients(m, v), d.coefficients.ddimReverseCoefficients(m)
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

// SameProcess reports whether networks of both processes predict the same quantity from the same
// inputs at each timestep, so that one can guide the other.
func (d *GaussianDiffusion) SameProcess(other *GaussianDiffusion) bool {
	sameScale := d.RescaleTimesteps == other.RescaleTimesteps || d.OriginalNumSteps == 1000 // which is the scale
	return d.MeanType == other.MeanType && sameScale && d.OriginalNumSteps == other.OriginalNumSteps &&
		slices.Equal(d.TimestepMap, other.TimestepMap) && slices.Equal(d.AlphasCumprod, other.AlphasCumprod)
}

// At returns the timesteps t, one per image, 0 <= t < T.
func (d *GaussianDiffusion) At(t []int64) Timesteps {
	steps := gotorch.FromInt64s(t)
	if d.device.Type == gotorch.CUDA {
		// A synchronous copy, or one from pageable memory, may wait for all queued work.
		steps = steps.PinMemory().CUDA(d.device, true)
	}
	return d.AtTensor(steps, t)
}

// AtTensor is At for timesteps that are on the device already, an int64 tensor [N].
// host is a copy of them, or nil if the host does not know them (a captured graph is
// replayed with other timesteps). With a copy, terms that no t needs are not computed.
func (d *GaussianDiffusion) AtTensor(t gotorch.Tensor, host []int64) Timesteps {
	d.checkSteps(host)
	return d.withCoefficients(Timesteps{host: host, onDevice: t}, t.Numel())
}

// AtStep returns one timestep t for a batch of n images, without a host-to-device
// copy.
func (d *GaussianDiffusion) AtStep(t int, n int64) Timesteps {
	host := []int64{int64(t)}
	d.checkSteps(host)
	return d.withCoefficients(Timesteps{host: host}, n)
}

// atDeviceStep is AtStep for a timestep on the device, an int64 tensor [1].
func (d *GaussianDiffusion) atDeviceStep(t gotorch.Tensor, n int64) Timesteps {
	return d.withCoefficients(Timesteps{onDevice: t}, n)
}

// before returns the timestep t-1 for n images, where t is one timestep above 0.
func (d *GaussianDiffusion) before(t Timesteps, n int64) Timesteps {
	if t.host != nil {
		return d.AtStep(int(t.host[0])-1, n)
	}
	return d.atDeviceStep(t.onDevice.Sub(gotorch.FullOn(d.device, gotorch.Long, 1, 1), 1), n)
}

// withCoefficients gathers the coefficients of n images.
func (d *GaussianDiffusion) withCoefficients(t Timesteps, n int64) Timesteps {
	t.rows = t.extractRows(d.table)
	t.scaled = t.rows.Select(1, int64(scaledTimestep)).Expand(n)
	return t
}

func (d *GaussianDiffusion) checkSteps(host []int64) {
	for _, t := range host {
		if t < 0 || t >= int64(d.NumTimesteps()) {
			refuse("Timesteps", "step %d is not one of 0 to %d", t, d.NumTimesteps()-1)
		}
	}
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
