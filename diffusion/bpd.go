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
	Noise     func(t int) gotorch.Tensor // the noise that takes x_0 to x_t, [N, C, H, W], as NoiseSource.At
	Unclipped bool                       // leaves the predicted x_0 as it is instead of clipping it to [-1, 1]
	Progress  func(t int) error          // called after every step, if not nil; its error ends the evaluation
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
	err := evaluate(ctx, func() error {
		empty := func() gotorch.Tensor {
			return gotorch.EmptyOn(d.device, gotorch.Float, xStart.Size(0), int64(d.NumTimesteps())).MoveOut()
		}
		b.VB, b.XStartMSE, b.EpsilonMSE = empty(), empty(), empty()
		return nil
	})
	for k := 0; k < d.NumTimesteps() && err == nil; k++ {
		err = evaluate(ctx, func() error { return d.bpdStep(b, denoise, xStart, k, cond, o) })
	}
	if err == nil {
		err = evaluate(ctx, func() error {
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

// bpdStep fills column k of b's terms.
func (d *GaussianDiffusion) bpdStep(b BPD, denoise Denoiser, xStart gotorch.Tensor, k int, cond Cond, o BPDOptions) error {
	t := d.NumTimesteps() - 1 - k
	step, noise := d.AtStep(t, xStart.Size(0)), o.Noise(t)
	xT := d.QSample(xStart, step, noise)
	mean, variance := d.outputs(denoise, xT, step, cond)
	p := d.predict(mean, variance, xT, step, !o.Unclipped)
	b.VB.Select(1, int64(k)).CopyI(d.vbTerms(p, xStart, xT, step))
	b.XStartMSE.Select(1, int64(k)).CopyI(squaredError(p.PredXStart, xStart))
	b.EpsilonMSE.Select(1, int64(k)).CopyI(squaredError(d.predEpsilon(p.PredXStart, xT, step), noise))
	if o.Progress == nil {
		return nil
	}
	return o.Progress(t)
}
