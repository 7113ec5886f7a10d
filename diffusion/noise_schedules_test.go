package diffusion

import (
	"context"
	"math"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

func TestCutNoiseSchedule(t *testing.T) {
	for text, want := range map[string][2]string{
		"cosine:1000":                     {"cosine", "1000"},
		"cosine:1000:10,15":               {"cosine", "1000:10,15"},
		"linear:1000:10,15":               {"linear", "1000:10,15"},
		"linear:0.1,0.2:50":               {"linear:0.1,0.2", "50"},
		"scaled-linear:1000":              {"scaled-linear", "1000"},
		"scaled-linear:0.1,0.2:50:ddim10": {"scaled-linear:0.1,0.2", "50:ddim10"},
		"cosine-shifted:256:1000":         {"cosine-shifted:256", "1000"},
		"sigmoid":                         {"sigmoid", ""},
	} {
		if name, rest, ok := CutNoiseSchedule(text); !ok || name != want[0] || rest != want[1] {
			t.Errorf("%s: %q, %q, %t", text, name, rest, ok)
		}
	}
	if _, _, ok := CutNoiseSchedule("runs/001"); ok {
		t.Error("a path is cut as a schedule")
	}
}

// FuzzNoiseSchedule: a name is either refused or gives betas of a schedule.
func FuzzNoiseSchedule(f *testing.F) {
	for _, name := range []string{Linear, Cosine, Sigmoid, ScaledLinear, "linear:1e-4,0.02", "cosine-shifted:256", "scaled-linear:,", "linear:1e-10,0.999", "scaled-linear:1e-10,0.999", "cosine-shifted:-1"} {
		f.Add(name, 30)
	}
	f.Fuzz(func(t *testing.T, name string, steps int) {
		if steps > 2000 {
			steps = 2000
		}
		betas, err := NamedBetas(name, steps)
		if err != nil {
			return
		}
		for i, b := range betas {
			if !(b > 0 && b < 1) {
				t.Errorf("%q, %d steps: beta_%d is %v", name, steps, i, b)
			}
		}
	})
}

// zeroTerminal creates a process whose x_T has no signal.
func zeroTerminal(t *testing.T, respacing string) *GaussianDiffusion {
	t.Helper()
	d, err := New(Config{Steps: 60, NoiseSchedule: ScaledLinear, TimestepRespacing: respacing, Predict: "v", ZeroTerminalSNR: true, LearnSigma: true, LossWeight: "min-snr:5", RescaleLearnedSigmas: true}, cpu)
	if err != nil {
		t.Fatal(err)
	}
	if last := d.AlphasCumprod[d.NumTimesteps()-1]; last != 0 {
		t.Fatalf("alphaBar at the last step is %v", last)
	}
	return d
}

// TestZeroTerminalSNR: with a network that knows x_0 every sampler, the inversion, the bound
// and the losses are finite, and samples are x_0.
func TestZeroTerminalSNR(t *testing.T) {
	ctx := context.Background()
	for _, respacing := range []string{"", "7", "logsnr7"} {
		d := zeroTerminal(t, respacing)
		gotorch.Scope(func() {
			xStart, xT := images(2, 3, 4, 4), normal(1, 2, 3, 4, 4)
			network := velocityOracle(d, xStart)
			noise := NoiseSource{Seed: 3, Shape: xStart.Shape()}
			for _, sampler := range Samplers() {
				got, err := d.SampleLoop(ctx, network, xT, Cond{}, SampleOptions{Sampler: sampler, Noise: noise.At})
				if err != nil {
					t.Fatal(err)
				}
				golden.WithinOfMax(t, sampler.String()+respacing, got.Float32s(), xStart.Float32s(), 1e-4)
			}
			inverted, err := d.InvertLoop(ctx, network, xStart, Cond{}, InvertOptions{Refine: 2})
			if err != nil {
				t.Fatal(err)
			}
			mustBeFinite(t, "inversion", inverted)
			bpd, err := d.CalcBPD(ctx, network, xStart, Cond{}, BPDOptions{Noise: noise.At})
			if err != nil {
				t.Fatal(err)
			}
			mustBeFinite(t, "bound", bpd.Total, bpd.VB, bpd.XStartMSE, bpd.EpsilonMSE)
			golden.WithinOfMax(t, "prior", bpd.Prior.Float32s(), []float32{0, 0}, 1e-6)
			losses := d.TrainingLosses(network, xStart, d.At([]int64{0, int64(d.NumTimesteps() - 1)}), xT, Cond{})
			mustBeFinite(t, "losses", losses.Loss, losses.MSE, losses.VB)
			guide := ClassifierGuidance{Scale: 1, Gradient: func(x, _ gotorch.Tensor, _ Cond) gotorch.Tensor { return x }}
			next, predXStart := d.GuidedDDIMSample(guide, network, xT, d.AtStep(d.NumTimesteps()-1, 2), gotorch.Tensor{}, Cond{}, true, 0)
			mustBeFinite(t, "guided step", next, predXStart)
		})
	}
}

// velocityOracle is [oracle] also for a respaced process.
func velocityOracle(d *GaussianDiffusion, xStart gotorch.Tensor) Denoiser {
	own := map[int64]int64{}
	for t, original := range d.TimestepMap {
		own[int64(original)] = int64(t)
	}
	return func(x, scaled gotorch.Tensor, cond Cond) gotorch.Tensor {
		var steps []int64
		for _, t := range scaled.Float32s() {
			steps = append(steps, own[int64(t)])
		}
		at := d.At(steps)
		out := d.trainingTarget(xStart, x, at, d.predictEpsFromXStart(xStart, x, at))
		return gotorch.Cat([]gotorch.Tensor{out, gotorch.ZerosLike(out)}, 1)
	}
}

func mustBeFinite(t *testing.T, name string, tensors ...gotorch.Tensor) {
	t.Helper()
	for _, v := range tensors {
		for _, x := range v.Float32s() {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				t.Errorf("%s: %v", name, x)
				return
			}
		}
	}
}

func TestZeroTerminalSNRNeedsVelocity(t *testing.T) {
	betas, err := Config{NoiseSchedule: Cosine, Steps: 30, ZeroTerminalSNR: true}.Betas()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []ModelMeanType{Epsilon, XStart, PreviousX} {
		if _, err := NewGaussian(betas, Objective{MeanType: m}, cpu); err == nil {
			t.Errorf("prediction type %d: no error", m)
		}
	}
	if _, err := NewGaussian(betas, Objective{MeanType: Velocity}, cpu); err != nil {
		t.Error(err)
	}
}
