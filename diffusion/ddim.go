package diffusion

import (
	"context"
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// DDIMSample goes from x_t to x_{t-1} by equation 12 of the DDIM paper (Song et
// al. 2021) and also returns the predicted x_0. All are [N, C, H, W]. eta scales
// the noise from 0, none, to 1, the posterior's; noise may be undefined with eta
// 0, or where all t are 0. There are no gradients. The first call with an eta copies
// a table to the device, and waits for it.
func (d *GaussianDiffusion) DDIMSample(denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool, eta float64) (sample, predXStart gotorch.Tensor) {
	return d.step(d.ddimSampleCoefficients(eta), denoise, x, t, noise, cond, clipDenoised)
}

// DDIMReverseSample goes from x_t to x_{t+1} along the same path as DDIMSample
// with eta 0, so that noise becomes what an image was made from, and also
// returns the predicted x_0. At t = T-1 all signal goes. There are no gradients.
func (d *GaussianDiffusion) DDIMReverseSample(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond, clipDenoised bool) (sample, predXStart gotorch.Tensor) {
	return d.step(d.ddimReverseSample, denoise, x, t, gotorch.Tensor{}, cond, clipDenoised)
}

// ddimPrediction returns the predicted x_0 and the noise that it implies, which
// after clipping is not the noise that the network predicted.
func (d *GaussianDiffusion) ddimPrediction(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond, clipDenoised bool) (predXStart, epsilon gotorch.Tensor) {
	mean, _ := d.splitModelOutput(denoise, x, t, cond)
	predXStart = d.predictXStart(mean, x, t)
	if clipDenoised {
		predXStart = predXStart.Clamp(-1, 1)
	}
	return predXStart, d.predictEpsFromXStart(predXStart, x, t)
}

// InvertOptions says how to invert. The zero value is the reference's way.
type InvertOptions struct {
	NoClipDenoised bool // leaves the predicted x_0 as it is instead of clipping it to [-1, 1]
	// Refine is how many more times the network is asked at each step. Without,
	// a step takes the noise that the network sees before it, where sampling will
	// take what it sees after it, and with few steps the image comes back
	// blurred; each round brings the two closer together.
	Refine int
	// Progress, if not nil, is called after every step with t, rising, and the
	// predicted x_0, which lives until it returns. Its error ends the loop.
	Progress func(t int, predXStart gotorch.Tensor) error
	// GraphCache is that of earlier batches; nil: this one has its own.
	GraphCache *GraphCache
}

// InvertLoop turns images, [N, C, H, W], into the noise from which SampleLoop
// with DDIM and eta 0 makes them again. xStart stays the caller's; the noise
// belongs to the caller's scope.
func (d *GaussianDiffusion) InvertLoop(ctx context.Context, denoise Denoiser, xStart gotorch.Tensor, cond Cond, o InvertOptions) (gotorch.Tensor, error) {
	if o.Refine < 0 {
		return gotorch.Tensor{}, fmt.Errorf("refine is %d: it must be 0 or more", o.Refine)
	}
	step, steps := d.DDIMReverseSample, d.NumTimesteps()-1
	if o.Refine > 0 {
		step, steps = d.invertDDIMStep(o.Refine), d.NumTimesteps()
	}
	l := loop{name: "InvertLoop", options: invertKind{o.Refine, o.NoClipDenoised}, x: xStart, cond: cond, last: steps - 1}
	return d.runImageLoop(ctx, o.GraphCache, imageLoop(l, o.Progress, func(b stepBuffers, t Timesteps) (next, predXStart gotorch.Tensor) {
		return step(denoise, b.x, t, b.cond, !o.NoClipDenoised)
	}))
}

// invertKind are the options that change the work of a step.
type invertKind struct {
	refine    int
	unclipped bool
}

// invertDDIMStep returns the inverse of DDIMSample's step t: from x_{t-1} it finds
// the x_t which that step takes there, by fixed-point iteration on the noise in it.
func (d *GaussianDiffusion) invertDDIMStep(refine int) func(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond, clipDenoised bool) (sample, predXStart gotorch.Tensor) {
	return func(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond, clipDenoised bool) (sample, predXStart gotorch.Tensor) {
		sqrtAlphaBarPrev, sqrtOneMinusAlphaBarPrev := t.extract(colSqrtAlphasCumprodPrev), t.extract(colOneMinusAlphasCumprodPrev).Sqrt()
		sample = x
		for range refine + 1 {
			var epsilon gotorch.Tensor
			predXStart, epsilon = d.ddimPrediction(denoise, sample, t, cond, clipDenoised)
			xStart := x.Addcmul(sqrtOneMinusAlphaBarPrev, epsilon, -1).DivI(sqrtAlphaBarPrev)
			sample = linearCombination(t.extract(colSqrtAlphasCumprod), xStart, t.extract(colSqrtOneMinusAlphasCumprod), epsilon)
		}
		return sample, predXStart
	}
}
