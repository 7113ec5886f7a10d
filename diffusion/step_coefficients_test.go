package diffusion

import (
	"fmt"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

// composedPSample is the reference (unfused) implementation of PSample.
func composedPSample(d *GaussianDiffusion, network Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, clip bool) (next, predXStart gotorch.Tensor) {
	p := d.PMeanVariance(network, x, t, Cond{}, clip)
	stdv := p.LogVariance.MulScalar(0.5).Exp().Mul(t.extract(nonzeroMask))
	return p.Mean.Addcmul(stdv, noise, 1), p.PredXStart
}

// composedDDIM is the reference implementation of DDIMSample.
func composedDDIM(d *GaussianDiffusion, network Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, clip bool, eta float64) (next, predXStart gotorch.Tensor) {
	predXStart, epsilon := d.ddimPrediction(network, x, t, Cond{}, clip)
	_, variance, _ := d.QPosteriorMeanVariance(predXStart, x, t)
	variance = variance.MulScalar(eta * eta)
	direction := t.extract(oneMinusAlphasCumprodPrev).Sub(variance, 1).ClampMin(0).Sqrt()
	next = t.extract(sqrtAlphasCumprodPrev).Mul(predXStart).Addcmul(direction, epsilon, 1)
	return next.Addcmul(variance.Sqrt(), noise, 1), predXStart
}

// composedDDIMReverse is the reference implementation of DDIMReverseSample; after are
// the timesteps t + 1.
func composedDDIMReverse(d *GaussianDiffusion, network Denoiser, x gotorch.Tensor, t, after Timesteps, clip bool) (next, predXStart gotorch.Tensor) {
	predXStart, epsilon := d.ddimPrediction(network, x, t, Cond{}, clip)
	return d.QSample(predXStart, after, epsilon), predXStart
}

// TestFusedStepMatchesReference covers every prediction and variance type.
func TestFusedStepMatchesReference(t *testing.T) {
	steps, after := []int64{0, 1, 25, 0, 48}, []int64{1, 2, 26, 1, 49}
	for meanName, meanType := range meanTypes {
		for varName, varType := range varTypes {
			d := process(t, Cosine, 50, Objective{MeanType: meanType, VarType: varType})
			for name, at := range map[string][2]Timesteps{
				"many":    {d.At(steps), d.At(after)},
				"no host": {d.AtTensor(gotorch.FromInt64s(steps), nil), d.At(after)},
				"one":     {d.AtStep(25, 5), d.AtStep(26, 5)},
				"first":   {d.AtStep(0, 5), d.AtStep(1, 5)},
				"device":  {d.atDeviceStep(gotorch.FromInt64s(steps[2:3]), 5), d.AtStep(26, 5)},
			} {
				t.Run(fmt.Sprint(meanName, varName, name), func(t *testing.T) {
					gotorch.Scope(func() { compareSteps(t, d, at[0], at[1]) })
				})
			}
		}
	}
}

func compareSteps(t *testing.T, d *GaussianDiffusion, at, after Timesteps) {
	x, noise := d.QSample(images(5, 3, 7, 4), at, normal(1, 5, 3, 7, 4)), normal(2, 5, 3, 7, 4)
	out := oracle(d, images(5, 3, 7, 4).MulScalar(1.1))(x, at.scaled, Cond{})
	network := echo(out.Add(normal(3, out.Shape()...).MulScalar(0.1), 1))
	// At t = 48 the predicted x_0 is a difference of numbers tens of times as large.
	for _, clip := range []bool{true, false} {
		compare := func(name string, got, gotXStart, want, wantXStart gotorch.Tensor) {
			golden.WithinOfMax(t, fmt.Sprintf("%s, clip %v", name, clip), got.Float32s(), want.Float32s(), 1e-5)
			golden.WithinOfMax(t, fmt.Sprintf("%s, clip %v, x_0", name, clip), gotXStart.Float32s(), wantXStart.Float32s(), 1e-5)
		}
		got, gotXStart := d.PSample(network, x, at, noise, Cond{}, clip)
		want, wantXStart := composedPSample(d, network, x, at, noise, clip)
		compare("ancestral", got, gotXStart, want, wantXStart)
		for _, eta := range []float64{0, 0.7, 1} {
			got, gotXStart = d.DDIMSample(network, x, at, noise, Cond{}, clip, eta)
			want, wantXStart = composedDDIM(d, network, x, at, noise, clip, eta)
			compare(fmt.Sprint("ddim ", eta), got, gotXStart, want, wantXStart)
		}
		got, gotXStart = d.DDIMReverseSample(network, x, at, Cond{}, clip)
		want, wantXStart = composedDDIMReverse(d, network, x, at, after, clip)
		compare("ddim reverse", got, gotXStart, want, wantXStart)
	}
}

// TestStepsTrackNoGradients: steps disable gradient tracking and restore it.
func TestStepsTrackNoGradients(t *testing.T) {
	d := process(t, Cosine, 50, Objective{})
	gotorch.Scope(func() {
		x, out := normal(1, 2, 3, 4, 4), normal(2, 2, 3, 4, 4)
		out.SetRequiresGrad(true)
		network := func(_, _ gotorch.Tensor, _ Cond) gotorch.Tensor { return out.MulScalar(2) }
		ancestral, _ := d.PSample(network, x, d.AtStep(3, 2), x, Cond{}, true)
		ddim, _ := d.DDIMSample(echo(out), x, d.AtStep(3, 2), gotorch.Tensor{}, Cond{}, true, 0)
		if ancestral.RequiresGrad() || ddim.RequiresGrad() || !gotorch.IsGradEnabled() {
			t.Error("a step tracks gradients, or leaves tracking disabled")
		}
	})
}
