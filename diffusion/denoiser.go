package diffusion

import (
	"slices"

	"github.com/wangkuiyi/gotorch"
)

// LossType is the training objective.
type LossType int

// The objectives. The first two are L_simple if the variance is fixed. As in the
// reference, no flag selects KL; tests compare CalcBPD's terms with it.
const (
	MSE         LossType = iota // L_simple, plus L_vlb's term at t if the variance is learned
	RescaledMSE                 // the same, the term weighted by T/1000: L_hybrid
	KL                          // L_vlb's term at t
	RescaledKL                  // the term times T, an unbiased estimate of L_vlb
)

// Objective selects the prediction type, the variance type and the loss. The zero
// value is Ho et al.'s: noise prediction, fixed variance beta_t, L_simple.
type Objective struct {
	MeanType         ModelMeanType
	VarType          ModelVarType
	LossType         LossType
	LossWeight       LossWeight // of L_simple
	RescaleTimesteps bool       // scale the timesteps that the network receives to 1000 t/T
}

// learnsVariance reports whether the network has 2C output channels.
func (o Objective) learnsVariance() bool { return o.VarType.definition().learned }

// Cond is the network's conditioning besides the timestep. Either tensor may be
// undefined.
type Cond struct {
	Y      gotorch.Tensor // class labels, int64 [N]
	LowRes gotorch.Tensor // the low-resolution images of super-resolution, [N, C, h, w]
}

// Denoiser evaluates the network at x_t [N, C, H, W] and timesteps t, float32 [N]. It
// returns [N, C, H, W], or [N, 2C, H, W] if it also predicts variances.
type Denoiser func(x, t gotorch.Tensor, cond Cond) gotorch.Tensor

// splitModelOutput evaluates the network and splits its output into the prediction
// and, if variances are learned, the variance's values.
func (o Objective) splitModelOutput(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond) (mean, variance gotorch.Tensor) {
	modelOutput := o.modelOutput(denoise, x, t, cond)
	if !o.learnsVariance() {
		return modelOutput, gotorch.Tensor{}
	}
	halves := modelOutput.Chunk(2, 1)
	return halves[0], halves[1]
}

// modelOutput evaluates the network and returns its output in float32.
func (o Objective) modelOutput(denoise Denoiser, x gotorch.Tensor, t Timesteps, cond Cond) gotorch.Tensor {
	out := denoise(x, t.scaled, cond).CastTo(gotorch.Float)
	want := x.Shape()
	if o.learnsVariance() {
		want[1] *= 2
	}
	if got := out.Shape(); !slices.Equal(got, want) {
		refuse("Denoiser", "the network's output for x %v is %v, this diffusion needs %v: learn_sigma must match the network's number of output channels", x.Shape(), got, want)
	}
	return out
}
