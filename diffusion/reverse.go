package diffusion

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// reverse is a way through the process, from x_t to the pictures of a step beside
// it: what gotorch.DiffusionReverseStep needs at every step.
type reverse struct {
	op    string         // whose it is, for refusals
	rows  gotorch.Tensor // [T, ReverseStepColumns]
	noisy bool           // that it adds noise but at t = 0
}

// needsNoise reports whether a step of any picture adds noise.
func (r reverse) needsNoise(t Timesteps) bool { return r.noisy && t.mayBeLater() }

// step asks the network and goes there, without recording gradients, and also
// returns the predicted x_0. noise is looked at where it is needed.
func (d *GaussianDiffusion) step(r reverse, denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool) (next, predXStart gotorch.Tensor) {
	o := gotorch.ReverseStepOptions{Clip: clipDenoised}
	if r.needsNoise(t) {
		mustMatch(r.op, "noise", noise, x)
		o.Noise = noise
	}
	gotorch.NoGrad(func() {
		out := d.output(denoise, x, t, cond)
		rows := t.in(r.rows).Expand(x.Size(0), gotorch.ReverseStepColumns)
		next, predXStart = gotorch.DiffusionReverseStep(out, x, rows, o)
	})
	return next, predXStart
}

// newAncestral is the way of PSample: equations 3, 11 and 15.
func (d *GaussianDiffusion) newAncestral() reverse {
	return reverse{op: "PSample", noisy: true, rows: d.newTable(func(t int) []float64 {
		c := d.coefficients(t)
		ofX, ofPrediction := d.xStartFactors(c)
		logVariance, slope := d.logVarianceFactors(c)
		if d.MeanType == PreviousX {
			return []float64{ofX, ofPrediction, 0, 0, 1, logVariance, slope, c[colNotFirst]}
		}
		return []float64{ofX, ofPrediction, c[colPosteriorMeanCoef1], c[colPosteriorMeanCoef2], 0, logVariance, slope, c[colNotFirst]}
	})}
}

// newDDIM is the way of DDIMSample. Its rows are the caller's to free.
func (d *GaussianDiffusion) newDDIM(eta float64) reverse {
	return reverse{op: "DDIMSample", noisy: eta != 0, rows: d.newTable(func(t int) []float64 {
		c := d.coefficients(t)
		variance := eta * eta * c[colPosteriorVariance] // sigma^2; 0 at t = 0
		direction := math.Sqrt(max(0, c[colOneMinusAlphasCumprodPrev]-variance))
		return d.ddimRow(c, c[colSqrtAlphasCumprodPrev], direction, math.Sqrt(variance))
	})}
}

// newDDIMReverse is the way of DDIMReverseSample.
func (d *GaussianDiffusion) newDDIMReverse() reverse {
	return reverse{op: "DDIMReverseSample", rows: d.newTable(func(t int) []float64 {
		next := d.AlphasCumprodNext[t]
		return d.ddimRow(d.coefficients(t), math.Sqrt(next), math.Sqrt(1-next), 0)
	})}
}

// ddimRow makes pictures of the predicted x_0, of the noise that it implies, which
// after clipping is not what the network predicted, and of new noise.
func (d *GaussianDiffusion) ddimRow(c [columns]float64, signal, direction, stdv float64) []float64 {
	ofX, ofPrediction := d.xStartFactors(c)
	perXStart := direction / c[colSqrtRecipm1AlphasCumprod]
	return []float64{ofX, ofPrediction, signal - perXStart, perXStart * c[colSqrtRecipAlphasCumprod], 0, 0, 0, stdv}
}

// xStartFactors returns what the predicted x_0 is of x_t and of the network's
// prediction: predXStart's numbers.
func (d *GaussianDiffusion) xStartFactors(c [columns]float64) (ofX, ofPrediction float64) {
	switch d.MeanType {
	case XStart:
		return 0, 1
	case PreviousX:
		return -c[colPosteriorMeanCoefRatio], c[colRecipPosteriorMeanCoef1]
	}
	return c[colSqrtRecipAlphasCumprod], -c[colSqrtRecipm1AlphasCumprod]
}
