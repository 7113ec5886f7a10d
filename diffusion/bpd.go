package diffusion

import (
	"context"
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// BPD is the variational bound of images on their negative log likelihood and
// its parts: bits/dim, float32, on the device.
type BPD struct {
	Total gotorch.Tensor // [N], the sum of VB and Prior: equation 4
	Prior gotorch.Tensor // [N], L_T
	// The terms of every step, [N, T]. Column k is step T-1-k, the order in which
	// they are computed, so the last one is the decoder's.
	VB         gotorch.Tensor
	XStartMSE  gotorch.Tensor // mean squared error of the predicted x_0
	EpsilonMSE gotorch.Tensor // mean squared error of the predicted noise
}

// BPDOptions says how to evaluate the bound. Noise is needed.
type BPDOptions struct {
	Noise          func(t int) gotorch.Tensor // the noise that takes x_0 to x_t, [N, C, H, W], as NoiseSource.At
	NoClipDenoised bool                       // leaves the predicted x_0 as it is instead of clipping it to [-1, 1]
	Progress       func(t int) error          // called after every step, if not nil; its error ends the evaluation
	GraphCache     *GraphCache                // that of earlier batches; nil: this one has its own
}

// PriorBPD returns L_T, how far q(x_T | x_0) is from pure noise: bits/dim [N],
// equation 7.
func (d *GaussianDiffusion) PriorBPD(xStart gotorch.Tensor) gotorch.Tensor {
	mean, _, logVariance := d.QMeanVariance(xStart, d.AtStep(d.NumTimesteps()-1, xStart.Size(0)))
	zero := gotorch.ZerosOn(d.device, gotorch.Float, 1)
	return bitsPerDim(NormalKL(mean, logVariance, zero, zero))
}

// CalcBPD evaluates the whole bound of images xStart, [N, C, H, W], one pass of
// the network per step and without recording gradients. The results belong to
// the caller's scope.
func (d *GaussianDiffusion) CalcBPD(ctx context.Context, denoise Denoiser, xStart gotorch.Tensor, cond Cond, o BPDOptions) (BPD, error) {
	if o.Noise == nil {
		return BPD{}, fmt.Errorf("the bound needs a source of noise")
	}
	var b BPD
	err := withoutGradients(ctx, func() error {
		empty := func() gotorch.Tensor {
			return gotorch.EmptyOn(d.device, gotorch.Float, xStart.Size(0), int64(d.NumTimesteps())).MoveOut()
		}
		b.VB, b.XStartMSE, b.EpsilonMSE = empty(), empty(), empty()
		return nil
	})
	if err == nil {
		err = d.runLoop(ctx, o.GraphCache, d.bpdLoop(b, denoise, xStart, cond, o), func(stepBuffers) {})
	}
	if err == nil {
		err = withoutGradients(ctx, func() error {
			b.Prior = d.PriorBPD(xStart).MoveOut()
			b.Total = b.VB.SumDims(false, 1).AddI(b.Prior, 1).MoveOut()
			return nil
		})
	}
	if err != nil {
		b.Free()
		return BPD{}, err
	}
	return b, nil
}

// Free ends all of b's tensors.
func (b BPD) Free() {
	for _, part := range []gotorch.Tensor{b.Total, b.Prior, b.VB, b.XStartMSE, b.EpsilonMSE} {
		part.Free()
	}
}

// bpdLoop fills b, column by column.
func (d *GaussianDiffusion) bpdLoop(b BPD, denoise Denoiser, xStart gotorch.Tensor, cond Cond, o BPDOptions) loop {
	last := d.NumTimesteps() - 1
	return loop{
		name: "CalcBPD", options: o.NoClipDenoised, x: xStart, cond: cond, noise: o.Noise, first: last,
		seen: func(x gotorch.Tensor) gotorch.Tensor { return gotorch.EmptyOn(d.device, gotorch.Float, x.Size(0), 3) },
		step: func(buffers stepBuffers, t Timesteps) {
			for i, term := range d.bpdTerms(denoise, buffers, t, !o.NoClipDenoised) {
				buffers.seen.Select(1, int64(i)).CopyI(term)
			}
		},
		after: func(buffers stepBuffers, t int) error {
			for i, columns := range []gotorch.Tensor{b.VB, b.XStartMSE, b.EpsilonMSE} {
				columns.Select(1, int64(last-t)).CopyI(buffers.seen.Select(1, int64(i)))
			}
			if o.Progress == nil {
				return nil
			}
			return o.Progress(t)
		},
	}
}

// bpdTerms returns what a step adds to a BPD's VB, XStartMSE and EpsilonMSE, each [N].
func (d *GaussianDiffusion) bpdTerms(denoise Denoiser, b stepBuffers, t Timesteps, clipDenoised bool) [3]gotorch.Tensor {
	xT := d.QSample(b.x, t, b.noise)
	mean, variance := d.splitModelOutput(denoise, xT, t, b.cond)
	p := d.predictionOf(mean, variance, xT, t, clipDenoised)
	return [3]gotorch.Tensor{
		d.vbTermsBPD(p, b.x, xT, t),
		squaredError(p.PredXStart, b.x),
		squaredError(d.predictEpsFromXStart(p.PredXStart, xT, t), b.noise),
	}
}
