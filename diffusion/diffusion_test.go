package diffusion

import (
	"math"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

// process creates a diffusion or fails the test.
func process(t testing.TB, schedule string, steps int, o Objective) *GaussianDiffusion {
	t.Helper()
	betas, err := NamedBetas(schedule, steps)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewGaussian(betas, o, cpu)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func normal(stream uint32, shape ...int64) gotorch.Tensor {
	return gotorch.PhiloxNormal(cpu, gotorch.Float, gotorch.PhiloxKey{Seed: 7, Stream: stream}, shape...)
}

// images returns 8-bit values scaled to [-1, 1].
func images(shape ...int64) gotorch.Tensor {
	u := gotorch.PhiloxUniform(cpu, gotorch.Float, gotorch.PhiloxKey{Seed: 8}, shape...)
	return u.MulScalar(255).AddScalar(0.5).CastTo(gotorch.Byte).CastTo(u.Dtype()).MulScalar(2. / 255).AddScalar(-1)
}

// oracle returns a network whose prediction is exact for xStart. Its variance output is
// v = -1: for LearnedRange the posterior's variance.
func oracle(d *GaussianDiffusion, xStart gotorch.Tensor) Denoiser {
	return func(x, scaledTimesteps gotorch.Tensor, _ Cond) gotorch.Tensor {
		at := d.At(scaledTimesteps.Int64s())
		out := d.trainingTarget(xStart, x, at, d.predictEpsFromXStart(xStart, x, at))
		if !d.learnsVariance() {
			return out
		}
		return gotorch.Cat([]gotorch.Tensor{out, gotorch.ZerosLike(out).AddScalar(-1)}, 1)
	}
}

func TestPMeanVarianceWithTrueXStart(t *testing.T) {
	for name, meanType := range meanTypes {
		for varName, varType := range varTypes {
			d := process(t, Cosine, 50, Objective{MeanType: meanType, VarType: varType})
			gotorch.Scope(func() {
				xStart := images(4, 3, 5, 6)
				at := d.At([]int64{0, 1, 25, 40})
				x := d.QSample(xStart, at, normal(1, 4, 3, 5, 6))
				p := d.PMeanVariance(oracle(d, xStart), x, at, Cond{}, false)
				golden.WithinOfMax(t, name+" "+varName+" pred_xstart", p.PredXStart.Float32s(), xStart.Float32s(), 2e-5)
				mean, variance, _ := d.QPosteriorMeanVariance(xStart, x, at)
				golden.WithinOfMax(t, name+" "+varName+" mean", p.Mean.Float32s(), mean.Float32s(), 2e-5)
				if varType == FixedSmall {
					golden.WithinOfMax(t, name+" variance", p.Variance.Float32s(), variance.Float32s(), 0)
				}
			})
		}
	}
}

// TestTimestepsConstructorsAgree compares At, AtTensor, AtStep and atDeviceStep.
func TestTimestepsConstructorsAgree(t *testing.T) {
	d := process(t, Linear, 50, Objective{VarType: LearnedRange, LossType: RescaledMSE})
	gotorch.Scope(func() {
		x, noise := images(3, 2, 4, 4), normal(1, 3, 2, 4, 4)
		network := echo(normal(2, 3, 4, 4, 4))
		for _, steps := range [][]int64{{0, 3, 49}, {7, 7, 7}, {0, 0, 0}} {
			want := d.TrainingLosses(network, x, d.At(steps), noise, Cond{}).Loss.Float32s()
			deviceOnly := d.AtTensor(gotorch.FromInt64s(steps), nil)
			golden.WithinOfMax(t, "AtTensor without host copy", d.TrainingLosses(network, x, deviceOnly, noise, Cond{}).Loss.Float32s(), want, 0)
			if steps[0] == steps[1] {
				one := d.AtStep(int(steps[0]), 3)
				golden.WithinOfMax(t, "AtStep", d.TrainingLosses(network, x, one, noise, Cond{}).Loss.Float32s(), want, 0)
				golden.WithinOfMax(t, "scaled timesteps", one.scaled.Float32s(), deviceOnly.scaled.Float32s(), 0)
			}
			if steps[0] == 7 {
				scalar := d.atDeviceStep(gotorch.FromInt64s(steps[:1]), 3)
				golden.WithinOfMax(t, "atDeviceStep", d.TrainingLosses(network, x, scalar, noise, Cond{}).Loss.Float32s(), want, 0)
				golden.WithinOfMax(t, "scaled timesteps", scalar.scaled.Float32s(), deviceOnly.scaled.Float32s(), 0)
			}
		}
	})
}

func TestScaledTimesteps(t *testing.T) {
	for _, c := range []struct {
		respacing string
		rescale   bool
		want      []float32
	}{
		{"", false, []float32{0, 1, 499}},
		{"ddim250", false, []float32{0, 2, 498}},
		{"", true, []float32{0, 2, 998}},
		{"ddim250", true, []float32{0, 4, 996}},
	} {
		d, err := New(Config{Steps: 500, NoiseSchedule: Linear, TimestepRespacing: c.respacing, RescaleTimesteps: c.rescale}, cpu)
		if err != nil {
			t.Fatal(err)
		}
		last := int64(d.NumTimesteps() - 1)
		gotorch.Scope(func() {
			golden.WithinOfMax(t, c.respacing, d.At([]int64{0, 1, last}).scaled.Float32s(), c.want, 0)
		})
	}
}

func TestOperatorErrors(t *testing.T) {
	d := process(t, Linear, 50, Objective{})
	learned := process(t, Linear, 50, Objective{VarType: LearnedRange})
	x := images(2, 3, 4, 4)
	noise := normal(1, 2, 3, 4, 4)
	for name, c := range map[string]struct {
		f    func()
		want string
	}{
		"step below":         {func() { d.At([]int64{0, -1}) }, "step -1 is not one of 0 to 49"},
		"step beyond":        {func() { d.At([]int64{0, 50}) }, "step 50"},
		"one step beyond":    {func() { d.AtStep(50, 2) }, "step 50"},
		"shape of the noise": {func() { d.QSample(x, d.AtStep(3, 2), normal(1, 2, 3, 4, 5)) }, "noise is [2 3 4 5], want [2 3 4 4]"},
		"no noise":           {func() { d.PSample(echo(noise), x, d.AtStep(3, 2), gotorch.Tensor{}, Cond{}, true) }, "undefined"},
		"too few channels":   {func() { learned.PMeanVariance(echo(noise), x, learned.AtStep(3, 2), Cond{}, true) }, "needs [2 6 4 4]"},
		"too many channels":  {func() { d.PMeanVariance(echo(normal(1, 2, 6, 4, 4)), x, d.AtStep(3, 2), Cond{}, true) }, "needs [2 3 4 4]"},
		"number of steps":    {func() { d.QSample(x, d.At([]int64{1, 2, 3}), noise) }, "size"},
	} {
		gotorch.Scope(func() {
			if err := gotorch.Try(c.f); !strings.Contains(errorText(err), c.want) {
				t.Errorf("%s: error %v, want one with %q", name, err, c.want)
			}
		})
	}
}

func TestBFloat16Output(t *testing.T) {
	d := process(t, Cosine, 50, Objective{VarType: LearnedRange, LossType: RescaledMSE})
	gotorch.Scope(func() {
		out := normal(2, 2, 4, 4, 4).CastTo(gotorch.BFloat16)
		losses := d.TrainingLosses(echo(out), images(2, 2, 4, 4), d.At([]int64{0, 30}), normal(1, 2, 2, 4, 4), Cond{})
		for _, l := range []gotorch.Tensor{losses.Loss, losses.MSE, losses.VB} {
			if l.Dtype() != gotorch.Float {
				t.Errorf("a loss is %s, want float32", l.Dtype())
			}
		}
	})
}

// TestDiscretizedLikelihoodSumsToOne sums the probabilities of all 256 bins.
func TestDiscretizedLikelihoodSumsToOne(t *testing.T) {
	gotorch.Scope(func() {
		x := gotorch.ArangeOn(cpu, gotorch.Float, 0, 256, 1).MulScalar(2. / 255).AddScalar(-1)
		for _, mean := range []float64{-1, -0.3, 0.9, 1.5} {
			for _, logScale := range []float64{-3, -1, 1} {
				constant := func(v float64) gotorch.Tensor { return gotorch.FullOn(cpu, gotorch.Float, v, 1) }
				total := DiscretizedGaussianLogLikelihood(x, constant(mean), constant(logScale)).Exp().Sum().Float64()
				if math.Abs(total-1) > 1e-4 {
					t.Errorf("mean %v, log scale %v: the probabilities sum to %v", mean, logScale, total)
				}
			}
		}
	})
}

func TestNormalKL(t *testing.T) {
	gotorch.Scope(func() {
		mean, logVariance := normal(1, 20), normal(2, 20)
		same := NormalKL(mean, logVariance, mean, logVariance)
		if most := same.Abs().Max().Float64(); most > 2.5e-7 { // -1 + v - v + 1 rounds
			t.Errorf("the KL divergence of equal Gaussians is %v", most)
		}
		other := NormalKL(mean, logVariance, normal(3, 20), normal(4, 20))
		if least := -other.Neg().Max().Float64(); least < 0 {
			t.Errorf("a KL divergence is %v", least)
		}
	})
}
