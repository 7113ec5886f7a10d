package diffusion

import (
	"context"
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// BPD is the variational bound on the negative log-likelihood of N images, and its
// terms. All are float32 on the device, in bits/dim unless a field says otherwise.
type BPD struct {
	Total gotorch.Tensor // [N], the sum of VB and Prior: equation 4
	Prior gotorch.Tensor // [N], L_T
	// The terms of every timestep, [N, T]. Column k is t = T-1-k, the order of
	// computation, so the last column is the decoder's term L_0.
	VB         gotorch.Tensor
	XStartMSE  gotorch.Tensor // mean squared error of the predicted x_0
	EpsilonMSE gotorch.Tensor // mean squared error of the predicted noise
}

// BPDOptions are the options of CalcBPD. Noise is required.
type BPDOptions struct {
	Noise          func(t int) gotorch.Tensor // the noise in x_t, [N, C, H, W], such as NoiseSource.At
	NoClipDenoised bool                       // do not clip the predicted x_0 to [-1, 1]
	Progress       func(t int) error          // if not nil, called after every timestep; its error ends the evaluation
	GraphCache     *GraphCache                // shared with earlier batches; nil: one for this call
}

// PriorBPD returns L_T, the KL divergence of q(x_T | x_0) from N(0, 1), in bits/dim
// [N]: equation 7.
func (d *GaussianDiffusion) PriorBPD(xStart gotorch.Tensor) gotorch.Tensor {
	mean, _, logVariance := d.QMeanVariance(xStart, d.AtStep(d.NumTimesteps()-1, xStart.Size(0)))
	zero := gotorch.ZerosOn(d.device, gotorch.Float, 1)
	return bitsPerDim(NormalKL(mean, logVariance, zero, zero))
}

// CalcBPD evaluates all terms of the bound for images xStart, [N, C, H, W]: one
// forward pass per timestep, without gradients. The results belong to the caller's
// scope.
func (d *GaussianDiffusion) CalcBPD(ctx context.Context, denoise Denoiser, xStart gotorch.Tensor, cond Cond, o BPDOptions) (BPD, error) {
	if o.Noise == nil {
		return BPD{}, fmt.Errorf("the bound needs noise: set BPDOptions.Noise")
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

// Free frees all tensors of b.
func (b BPD) Free() {
	for _, part := range []gotorch.Tensor{b.Total, b.Prior, b.VB, b.XStartMSE, b.EpsilonMSE} {
		part.Free()
	}
}

// bpdLoop returns the loop that fills b, column by column.
func (d *GaussianDiffusion) bpdLoop(b BPD, denoise Denoiser, xStart gotorch.Tensor, cond Cond, o BPDOptions) loop {
	last := d.NumTimesteps() - 1
	return loop{
		name: "CalcBPD", options: o.NoClipDenoised, x: xStart, cond: cond, noise: o.Noise, first: last,
		newOutput: func(x gotorch.Tensor) gotorch.Tensor { return gotorch.EmptyOn(d.device, gotorch.Float, x.Size(0), 3) },
		step: func(buffers stepBuffers, t Timesteps, _ int) {
			for i, term := range d.bpdTerms(denoise, buffers, t, !o.NoClipDenoised) {
				buffers.output.Select(1, int64(i)).CopyI(term)
			}
		},
		onStep: func(buffers stepBuffers, t int) error {
			for i, columns := range []gotorch.Tensor{b.VB, b.XStartMSE, b.EpsilonMSE} {
				columns.Select(1, int64(last-t)).CopyI(buffers.output.Select(1, int64(i)))
			}
			if o.Progress == nil {
				return nil
			}
			return o.Progress(t)
		},
	}
}

// bpdTerms returns the columns of VB, XStartMSE and EpsilonMSE at t, each [N].
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
