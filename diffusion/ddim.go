package diffusion

import (
	"context"
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// DDIMSample returns x_{t-1} by equation 12 of the DDIM paper (Song et al. 2021),
// and the predicted x_0. All images are [N, C, H, W]. eta scales the noise from 0
// (deterministic) to 1 (the posterior's variance). noise may be undefined if eta is 0
// or all t are 0. No gradients are tracked. The first call with an eta computes its
// table of coefficients.
func (d *GaussianDiffusion) DDIMSample(denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool, eta float64) (sample, predXStart gotorch.Tensor) {
	return d.step(d.samplerCoefficients(DDIM, eta), denoise, x, t, noise, cond, clipDenoised)
}

// GuidedDDIMSample is DDIMSample with classifier guidance. The predicted x_0 is shifted, too.
func (d *GaussianDiffusion) GuidedDDIMSample(g ClassifierGuidance, denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool, eta float64) (sample, predXStart gotorch.Tensor) {
	return d.step(d.samplerCoefficients(DDIM, eta).guided(&g), denoise, x, t, noise, cond, clipDenoised)
}

// DDIMReverseSample returns x_{t+1}, the inverse direction of DDIMSample with eta 0
// (DDIM's encoding), and the predicted x_0. At t = T-1 no signal remains. No
// gradients are tracked.
func (d *GaussianDiffusion) DDIMReverseSample(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond, clipDenoised bool) (sample, predXStart gotorch.Tensor) {
	return d.step(d.ddimReverseSample, denoise, x, t, gotorch.Tensor{}, cond, clipDenoised)
}

// ddimPrediction returns the predicted x_0 and the noise consistent with it. After
// clipping that differs from the noise that the network predicted.
func (d *GaussianDiffusion) ddimPrediction(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond, clipDenoised bool) (predXStart, epsilon gotorch.Tensor) {
	mean, _ := d.splitModelOutput(denoise, x, t, cond)
	predXStart = d.predictXStart(mean, x, t, clipDenoised)
	return predXStart, d.predictEpsFromXStart(predXStart, x, t)
}

// InvertOptions are the options of InvertLoop. The zero value is the reference's
// inversion.
type InvertOptions struct {
	NoClipDenoised bool // do not clip the predicted x_0 to [-1, 1]
	// Refine is the number of fixed-point iterations per timestep, one forward pass
	// each. With 0 a step uses the noise predicted from x_t where sampling will use the
	// noise predicted from x_{t+1}, so that with few steps the reconstruction is blurred.
	Refine int
	// Progress, if not nil, is called after every timestep with t, ascending, and the
	// predicted x_0, which is valid until it returns. Its error ends the loop.
	Progress func(t int, predXStart gotorch.Tensor) error
	// GraphCache is shared with earlier batches; nil: one for this call.
	GraphCache *GraphCache
}

// InvertLoop returns the noise from which SampleLoop with DDIM and eta 0
// reconstructs the images xStart, [N, C, H, W]. The noise belongs to the caller's
// scope.
func (d *GaussianDiffusion) InvertLoop(ctx context.Context, denoise Denoiser, xStart gotorch.Tensor, cond Cond, o InvertOptions) (gotorch.Tensor, error) {
	if o.Refine < 0 {
		return gotorch.Tensor{}, fmt.Errorf("refine is %d: it must be 0 or more", o.Refine)
	}
	step, steps := d.DDIMReverseSample, d.NumTimesteps()-1
	if o.Refine > 0 {
		step, steps = d.invertDDIMStep(o.Refine), d.NumTimesteps()
	}
	l := loop{name: "InvertLoop", options: invertKind{o.Refine, o.NoClipDenoised}, x: xStart, cond: cond, last: steps - 1}
	return d.runImageLoop(ctx, o.GraphCache, imageLoop(l, o.Progress, func(b stepBuffers, t Timesteps, _ int) (next, predXStart gotorch.Tensor) {
		return step(denoise, b.x, t, b.cond, !o.NoClipDenoised)
	}))
}

// invertKind are the options that change the operators of a step.
type invertKind struct {
	refine         int
	noClipDenoised bool
}

// invertDDIMStep returns the inverse of DDIMSample at t: it finds the x_t that
// DDIMSample maps to the given x_{t-1}, by fixed-point iteration on the noise in x_t.
func (d *GaussianDiffusion) invertDDIMStep(refine int) func(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond, clipDenoised bool) (sample, predXStart gotorch.Tensor) {
	return func(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond, clipDenoised bool) (sample, predXStart gotorch.Tensor) {
		sqrtAlphaBarPrev, sqrtOneMinusAlphaBarPrev := t.extract(sqrtAlphasCumprodPrev), t.extract(oneMinusAlphasCumprodPrev).Sqrt()
		sample = x
		for range refine + 1 {
			var epsilon gotorch.Tensor
			predXStart, epsilon = d.ddimPrediction(denoise, sample, t, cond, clipDenoised)
			xStart := x.Addcmul(sqrtOneMinusAlphaBarPrev, epsilon, -1).DivI(sqrtAlphaBarPrev)
			sample = d.QSample(xStart, t, epsilon)
		}
		return sample, predXStart
	}
}
