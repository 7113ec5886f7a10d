package diffusion

import (
	"context"
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// BPD is the variational bound of pictures on their negative log likelihood and
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
	Noise     func(t Timesteps) gotorch.Tensor // the noise that takes x_0 to x_t, [N, C, H, W], as NoiseSource.At
	Unclipped bool                             // leaves the predicted x_0 as it is instead of clipping it to [-1, 1]
	Progress  func(t int) error                // called after every step, if not nil; its error ends the evaluation
}

// PriorBPD returns L_T, how far q(x_T | x_0) is from pure noise: bits/dim [N],
// equation 7.
func (d *GaussianDiffusion) PriorBPD(xStart gotorch.Tensor) gotorch.Tensor {
	mean, _, logVariance := d.QMeanVariance(xStart, d.AtStep(d.NumTimesteps()-1, xStart.Size(0)))
	zero := gotorch.ZerosOn(d.device, gotorch.Float, 1)
	return bitsPerDim(NormalKL(mean, logVariance, zero, zero))
}

// CalcBPD evaluates the whole bound of pictures xStart, [N, C, H, W], one pass of
// the network per step and without recording gradients. The results belong to
// the caller's scope.
func (d *GaussianDiffusion) CalcBPD(ctx context.Context, denoise Denoiser, xStart gotorch.Tensor, cond Cond, o BPDOptions) (BPD, error) {
	if o.Noise == nil {
		return BPD{}, fmt.Errorf("the bound needs a source of noise")
	}
	var b BPD
	var terms gotorch.Tensor // of the step at hand, [N, 3]
	err := withoutGradients(ctx, func() error {
		empty := func(shape ...int64) gotorch.Tensor {
			return gotorch.EmptyOn(d.device, gotorch.Float, append([]int64{xStart.Size(0)}, shape...)...).MoveOut()
		}
		steps := int64(d.NumTimesteps())
		b.VB, b.XStartMSE, b.EpsilonMSE, terms = empty(steps), empty(steps), empty(steps), empty(3)
		return nil
	})
	if err == nil {
		err = d.fillBPD(ctx, b, terms, denoise, xStart, cond, o)
	}
	terms.Free()
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

// fillBPD evaluates the terms of every step, each first into terms.
func (d *GaussianDiffusion) fillBPD(ctx context.Context, b BPD, terms gotorch.Tensor, denoise Denoiser, xStart gotorch.Tensor, cond Cond, o BPDOptions) error {
	last := d.NumTimesteps() - 1
	return d.forEachStep(ctx, last, 0, xStart.Size(0), func(t Timesteps) {
		noise := o.Noise(t)
		xT := d.QSample(xStart, t, noise)
		mean, variance := d.splitModelOutput(denoise, xT, t, cond)
		p := d.predictionOf(mean, variance, xT, t, !o.Unclipped)
		for i, term := range []gotorch.Tensor{
			d.vbTermsBPD(p, xStart, xT, t),
			squaredError(p.PredXStart, xStart),
			squaredError(d.predictEpsFromXStart(p.PredXStart, xT, t), noise),
		} {
			terms.Select(1, int64(i)).CopyI(term)
		}
	}, func(t int) error {
		for i, columns := range []gotorch.Tensor{b.VB, b.XStartMSE, b.EpsilonMSE} {
			columns.Select(1, int64(last-t)).CopyI(terms.Select(1, int64(i)))
		}
		if o.Progress == nil {
			return nil
		}
		return o.Progress(t)
	})
}
