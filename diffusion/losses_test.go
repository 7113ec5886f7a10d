package diffusion

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

// TestLossesOfExactPrediction: with the true x_0 and the posterior's variance the losses
// are 0 for t > 0.
func TestLossesOfExactPrediction(t *testing.T) {
	for name, meanType := range meanTypes {
		d := process(t, Cosine, 50, Objective{MeanType: meanType, VarType: LearnedRange, LossType: RescaledMSE})
		gotorch.Scope(func() {
			xStart := images(4, 3, 5, 5)
			at := d.At([]int64{1, 2, 25, 49})
			losses := d.TrainingLosses(oracle(d, xStart), xStart, at, normal(1, 4, 3, 5, 5), Cond{})
			for i, mse := range losses.MSE.Float32s() {
				if vb := losses.VB.Float32s()[i]; mse > 1e-6 || vb > 1e-5 {
					t.Errorf("%s, image %d: mse %v, vb %v", name, i, mse, vb)
				}
			}
		})
	}
}

// composed is the reference (unfused) implementation of gotorch.DiffusionLosses.
func composed(d *GaussianDiffusion, out, xStart gotorch.Tensor, t Timesteps, noise gotorch.Tensor) (mse, vb gotorch.Tensor) {
	xT := d.QSample(xStart, t, noise)
	mean, variance := d.splitModelOutput(echo(out), xT, t, Cond{})
	mse = squaredError(mean, d.trainingTarget(xStart, xT, t, noise))
	if d.LossType == MSE {
		mean = mean.Detach()
	}
	return mse, d.vbTermsBPD(d.predictionOf(mean, variance, xT, t, false), xStart, xT, t)
}

// TestFusedLossesMatchReference compares losses and gradients of every objective, with
// odd shapes and with pixels in the outermost bins.
func TestFusedLossesMatchReference(t *testing.T) {
	steps := []int64{0, 1, 25, 0, 49}
	for meanName, meanType := range meanTypes {
		for varName, varType := range varTypes {
			for _, lossType := range []LossType{MSE, KL} {
				d := process(t, Cosine, 50, Objective{MeanType: meanType, VarType: varType, LossType: lossType})
				t.Run(fmt.Sprint(meanName, varName, lossType), func(t *testing.T) {
					compareFusedLosses(t, d, steps)
				})
			}
		}
	}
}

// compareFusedLosses compares losses near those of an exact prediction.
func compareFusedLosses(t *testing.T, d *GaussianDiffusion, steps []int64) {
	gotorch.Scope(func() {
		shape := []int64{int64(len(steps)), 3, 7, 4}
		x, noise, at := images(shape...).MulScalar(1.2).Clamp(-1, 1), normal(1, shape...), d.At(steps)
		out := normal(2, shape...).MulScalar(0.01).Add(d.trainingTarget(x, d.QSample(x, at, noise), at, noise), 1)
		if d.learnsVariance() {
			v := normal(3, shape...)
			if d.VarType == Learned {
				v = v.Add(at.extract(fixedLargeLogVariance), 1)
			}
			out = gotorch.Cat([]gotorch.Tensor{out, v}, 1)
		}
		compareLosses(t, d, out, x, at, noise)
	})
}

func compareLosses(t *testing.T, d *GaussianDiffusion, out, x gotorch.Tensor, at Timesteps, noise gotorch.Tensor) {
	weights := normal(4, x.Size(0))
	leaves := []gotorch.Tensor{out.Detach().Clone(), out.Detach().Clone()}
	for _, leaf := range leaves {
		leaf.SetRequiresGrad(true)
	}
	got, want := d.TrainingLosses(echo(leaves[0]), x, at, noise, Cond{}), Losses{}
	want.MSE, want.VB = composed(d, leaves[1], x, at, noise)
	switch {
	case d.LossType == KL:
		want.Loss = want.VB
	case d.learnsVariance():
		want.Loss = want.MSE.Mul(at.lossWeights(x.Size(0))).Add(want.VB, 1)
		golden.WithinOfMax(t, "vb", got.VB.Float32s(), want.VB.Float32s(), 1e-5)
	default:
		want.Loss = want.MSE.Mul(at.lossWeights(x.Size(0)))
	}
	golden.WithinOfMax(t, "loss", got.Loss.Float32s(), want.Loss.Float32s(), 1e-5)
	got.Loss.Mul(weights).Sum().Backward()
	want.Loss.Mul(weights).Sum().Backward()
	for n := range x.Size(0) {
		of := func(leaf gotorch.Tensor) []float32 { return leaf.Grad().Select(0, n).Contiguous().Float32s() }
		golden.WithinOfMax(t, fmt.Sprintf("gradient of image %d", n), of(leaves[0]), of(leaves[1]), 1e-3)
	}
}

// TestDrawTrainingLossesMatchesTrainingLosses compares noise drawn in the kernel with the
// same noise as a tensor.
func TestDrawTrainingLossesMatchesTrainingLosses(t *testing.T) {
	key, steps := gotorch.PhiloxKey{Seed: 9, Stream: 2, Step: 3, FirstSample: 5}, []int64{0, 1, 49}
	for name, meanType := range meanTypes {
		d := process(t, Cosine, 50, Objective{MeanType: meanType, VarType: LearnedRange, LossType: RescaledMSE})
		gotorch.Scope(func() {
			x, network := images(3, 3, 7, 5), echo(normal(2, 3, 6, 7, 5))
			noise := gotorch.PhiloxNormal(cpu, gotorch.Float, key, x.Shape()...)
			for _, at := range []Timesteps{d.At(steps), d.AtTensor(gotorch.FromInt64s(steps), nil), d.AtStep(7, 3)} {
				got, want := d.DrawTrainingLosses(network, x, at, key, Cond{}), d.TrainingLosses(network, x, at, noise, Cond{})
				golden.WithinOfMax(t, name+" mse", got.MSE.Float32s(), want.MSE.Float32s(), 1e-6)
				golden.WithinOfMax(t, name+" vb", got.VB.Float32s(), want.VB.Float32s(), 1e-6)
			}
		})
	}
}

// gradient returns d(mean loss)/d(output) at the network output out.
func gradient(d *GaussianDiffusion, out gotorch.Tensor, steps []int64) gotorch.Tensor {
	leaf := out.Detach().Clone()
	leaf.SetRequiresGrad(true)
	n, c, h, w := out.Size(0), out.Size(1), out.Size(2), out.Size(3)
	if d.learnsVariance() {
		c /= 2
	}
	losses := d.TrainingLosses(echo(leaf), images(n, c, h, w), d.At(steps), normal(1, n, c, h, w), Cond{})
	losses.Loss.Mean().Backward()
	return leaf.Grad()
}

// TestHybridStopsGradientAtMean: L_hybrid's gradient with respect to the mean is that of
// L_simple, to the bit, and with respect to the variance that of the bound.
func TestHybridStopsGradientAtMean(t *testing.T) {
	steps := []int64{0, 1, 30}
	for _, lossType := range []LossType{MSE, RescaledMSE} {
		hybrid := process(t, Linear, 50, Objective{VarType: LearnedRange, LossType: lossType})
		simple := process(t, Linear, 50, Objective{})
		bound := process(t, Linear, 50, Objective{VarType: LearnedRange, LossType: KL})
		gotorch.Scope(func() {
			out := normal(2, 3, 4, 5, 5)
			halves := gradient(hybrid, out, steps).Chunk(2, 1)
			mean := gradient(simple, out.Narrow(1, 0, 2), steps)
			golden.WithinOfMax(t, "the mean's gradient", halves[0].Float32s(), mean.Float32s(), 0)
			scale := 1.0
			if lossType == RescaledMSE {
				scale = 50. / 1000
			}
			kl := gradient(bound, out, steps).Chunk(2, 1)
			golden.WithinOfMax(t, "the variance's gradient", halves[1].Float32s(), kl[1].MulScalar(scale).Float32s(), 1e-6)
			if kl[0].Abs().Max().Float64() == 0 || kl[1].Abs().Max().Float64() == 0 {
				t.Error("L_vlb has no gradient with respect to one half of the output")
			}
		})
	}
}

// TestMixedTimestepsMatchSingleImages: the decoder term of images at t = 0 does not
// affect the losses and gradients of other images.
func TestMixedTimestepsMatchSingleImages(t *testing.T) {
	for name, o := range map[string]Objective{
		"hybrid":     {VarType: LearnedRange, LossType: RescaledMSE},
		"vlb":        {VarType: LearnedRange, LossType: RescaledKL},
		"vlb, fixed": {VarType: FixedLarge, LossType: KL},
	} {
		d := process(t, Cosine, 50, o)
		channels := int64(2)
		if d.learnsVariance() {
			channels = 4
		}
		gotorch.Scope(func() {
			steps := []int64{20, 0, 49, 0}
			out, x, noise := normal(2, 4, channels, 4, 4), images(4, 2, 4, 4), normal(1, 4, 2, 4, 4)
			whole := d.TrainingLosses(echo(out), x, d.At(steps), noise, Cond{}).Loss.Float32s()
			var parts []float32
			for i := range int64(4) {
				row := func(v gotorch.Tensor) gotorch.Tensor { return v.Narrow(0, i, 1) }
				loss := d.TrainingLosses(echo(row(out)), row(x), d.At(steps[i:i+1]), row(noise), Cond{}).Loss
				parts = append(parts, loss.Float32s()...)
			}
			golden.WithinRelative(t, name, whole, parts, 1e-6)
			if grad := gradient(d, out, steps).Float32s(); slices.ContainsFunc(grad, func(v float32) bool { return math.IsNaN(float64(v)) }) {
				t.Errorf("%s: a gradient is NaN", name)
			}
		})
	}
}

func TestLossTypes(t *testing.T) {
	const steps = 40
	of := func(o Objective) Losses {
		d := process(t, Linear, steps, o)
		return d.TrainingLosses(echo(normal(2, 2, 4, 4, 4)), images(2, 2, 4, 4), d.At([]int64{3, 0}), normal(1, 2, 2, 4, 4), Cond{})
	}
	gotorch.Scope(func() {
		mse := of(Objective{VarType: LearnedRange})
		hybrid := of(Objective{VarType: LearnedRange, LossType: RescaledMSE})
		kl := of(Objective{VarType: LearnedRange, LossType: KL})
		vlb := of(Objective{VarType: LearnedRange, LossType: RescaledKL})
		golden.WithinRelative(t, "loss = mse + vb", mse.Loss.Float32s(), mse.MSE.Add(mse.VB, 1).Float32s(), 1e-6)
		golden.WithinRelative(t, "vb = the bound", mse.VB.Float32s(), kl.Loss.Float32s(), 1e-6)
		golden.WithinRelative(t, "rescaled vb", hybrid.VB.Float32s(), kl.Loss.MulScalar(steps/1000.).Float32s(), 1e-6)
		golden.WithinRelative(t, "rescaled bound", vlb.Loss.Float32s(), kl.Loss.MulScalar(steps).Float32s(), 1e-6)
		if vlb.MSE.Defined() || vlb.VB.Defined() {
			t.Error("RescaledKL defines MSE or VB")
		}
	})
}
