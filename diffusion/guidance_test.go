package diffusion

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

// labelled is a network whose output depends on x, t and the label, and that learns variances.
func labelled(x, t gotorch.Tensor, cond Cond) gotorch.Tensor {
	shift := cond.Y.To(cpu, gotorch.Float).AddScalar(1).Mul(t.MulScalar(1e-3).AddScalar(1)).View(-1, 1, 1, 1)
	return gotorch.Cat([]gotorch.Tensor{x.Mul(shift).Sin(), shift.Mul(x).Tanh()}, 1)
}

// TestGuidedPrediction compares guidance with two separate evaluations: the prediction is (1-W)
// guide + W network, and the variance's values are the network's.
func TestGuidedPrediction(t *testing.T) {
	smaller := func(x, t gotorch.Tensor, cond Cond) gotorch.Tensor { // without variances
		return labelled(x, t, cond).Narrow(1, 0, 3).MulScalar(0.5)
	}
	for _, scale := range []float64{-1, 0, 0.3, 1, 1.5, 7} {
		for name, g := range map[string]Guidance{"null class": {NullClass: 4}, "guide": {Guide: smaller}} {
			t.Run(fmt.Sprint(name, scale), func(t *testing.T) {
				gotorch.Scope(func() {
					x, steps := normal(1, 3, 3, 4, 4), gotorch.FromFloat32s([]float32{0, 40, 999})
					cond := Cond{Y: gotorch.FromInt64s([]int64{0, 3, 1})}
					null := Cond{Y: gotorch.FromInt64s([]int64{4, 4, 4})}
					g.Scale = scale
					got := g.Denoiser(labelled)(x, steps, cond)
					own := labelled(x, steps, cond)
					guide := labelled(x, steps, null)
					if g.Guide != nil {
						guide = smaller(x, steps, cond)
					}
					want := make([]float64, 0, 3*3*16)
					a, b := guide.Narrow(1, 0, 3).Contiguous().Float32s(), own.Narrow(1, 0, 3).Contiguous().Float32s()
					for i := range a {
						want = append(want, (1-scale)*float64(a[i])+scale*float64(b[i]))
					}
					golden.WithinOfMax(t, "prediction", got.Narrow(1, 0, 3).Contiguous().Float32s(), want, 1e-6)
					if !gotorch.Equal(got.Narrow(1, 3, 3), own.Narrow(1, 3, 3)) {
						t.Error("the variances are not the network's own")
					}
				})
			})
		}
	}
}

// TestGuidanceEvaluations counts the network's evaluations and their images in each step:
// one of both halves where a step is guided, and one of the batch elsewhere.
func TestGuidanceEvaluations(t *testing.T) {
	d := process(t, Cosine, 8, Objective{VarType: LearnedRange})
	gotorch.Scope(func() {
		for name, test := range map[string]struct {
			g    *Guidance
			want []int64 // images per evaluation
		}{
			"none":     {nil, []int64{2, 2, 2, 2, 2, 2, 2, 2}},
			"all":      {&Guidance{Scale: 2}, []int64{4, 4, 4, 4, 4, 4, 4, 4}},
			"W = 1":    {&Guidance{Scale: 1}, []int64{2, 2, 2, 2, 2, 2, 2, 2}},
			"from":     {&Guidance{Scale: 2, MinSigma: d.Sigma(2)}, []int64{4, 4, 4, 4, 4, 2, 2, 2}},
			"interval": {&Guidance{Scale: 2, MinSigma: d.Sigma(2), MaxSigma: d.Sigma(5)}, []int64{2, 2, 4, 4, 4, 2, 2, 2}},
		} {
			var evaluations []int64
			counted := func(x, t gotorch.Tensor, cond Cond) gotorch.Tensor {
				evaluations = append(evaluations, x.Size(0))
				return labelled(x, t, cond)
			}
			noise := NoiseSource{Seed: 7, Shape: []int64{2, 3, 4, 4}}
			_, err := d.SampleLoop(t.Context(), counted, noise.XT(), Cond{Y: gotorch.FromInt64s([]int64{1, 2})}, SampleOptions{Noise: noise.At, Guidance: test.g})
			if err != nil || !slices.Equal(evaluations, test.want) {
				t.Errorf("%s: evaluations of %v images, %v, want %v", name, evaluations, err, test.want)
			}
		}
	})
}

// TestUnitGuidance: with W = 1, or outside the interval, samples are those without guidance, to
// the bit; with another W they are not.
func TestUnitGuidance(t *testing.T) {
	d := process(t, Cosine, 8, Objective{VarType: LearnedRange})
	gotorch.Scope(func() {
		sample := func(sampler Sampler, g *Guidance) []float32 {
			noise := NoiseSource{Seed: 7, Shape: []int64{2, 3, 4, 4}}
			x, err := d.SampleLoop(t.Context(), labelled, noise.XT(), Cond{Y: gotorch.FromInt64s([]int64{1, 2})}, SampleOptions{Sampler: sampler, Noise: noise.At, Guidance: g})
			if err != nil {
				t.Fatal(err)
			}
			return x.Float32s()
		}
		for _, sampler := range []Sampler{Ancestral, DDIM} {
			want := sample(sampler, nil)
			for name, test := range map[string]struct {
				g    Guidance
				same bool
			}{
				"1":       {Guidance{Scale: 1}, true},
				"outside": {Guidance{Scale: 3, MinSigma: 1e9}, true},
				"3":       {Guidance{Scale: 3}, false},
			} {
				if got := sample(sampler, &test.g); slices.Equal(got, want) != test.same {
					t.Errorf("sampler %d, guidance %s: as without guidance: %t", sampler, name, !test.same)
				}
			}
		}
	})
}

func TestGuidanceRefuses(t *testing.T) {
	d := process(t, Cosine, 8, Objective{VarType: LearnedRange})
	gotorch.Scope(func() {
		labels := Cond{Y: gotorch.FromInt64s([]int64{1})}
		zero := 0.0
		for want, test := range map[string]struct {
			g    Guidance
			cond Cond
		}{
			"is not a number":             {Guidance{Scale: zero / zero}, labels},
			"must begin at 0":             {Guidance{Scale: 2, MinSigma: -1}, labels},
			"interval 3 to 2":             {Guidance{Scale: 2, MinSigma: 3, MaxSigma: 2}, labels},
			"guidance needs class labels": {Guidance{Scale: 2}, Cond{}},
		} {
			noise := NoiseSource{Shape: []int64{1, 3, 4, 4}}
			_, err := d.SampleLoop(t.Context(), labelled, noise.XT(), test.cond, SampleOptions{Noise: noise.At, Guidance: &test.g})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v lacks %q", err, want)
			}
		}
	})
}

// TestClassifierGuidance: with S = 0 samples are those without a classifier, to the bit; labels are
// needed.
func TestClassifierGuidance(t *testing.T) {
	d := process(t, Cosine, 8, Objective{VarType: LearnedRange})
	gotorch.Scope(func() {
		noise := NoiseSource{Seed: 7, Shape: []int64{2, 3, 4, 4}}
		gradient := func(x, _ gotorch.Tensor, _ Cond) gotorch.Tensor { return x.Sin() }
		labels := Cond{Y: gotorch.FromInt64s([]int64{1, 2})}
		unlabelled := func(x, t gotorch.Tensor, _ Cond) gotorch.Tensor { return labelled(x, t, labels) }
		sample := func(cond Cond, g *ClassifierGuidance) ([]float32, error) {
			x, err := d.SampleLoop(t.Context(), unlabelled, noise.XT(), cond, SampleOptions{Noise: noise.At, Classifier: g})
			if err != nil {
				return nil, err
			}
			return x.Float32s(), nil
		}
		want, err := sample(labels, nil)
		if err != nil {
			t.Fatal(err)
		}
		for scale, same := range map[float64]bool{0: true, 2: false} {
			if got, err := sample(labels, &ClassifierGuidance{Scale: scale, Gradient: gradient}); err != nil || slices.Equal(got, want) != same {
				t.Errorf("S = %g: as without a classifier: %t, %v", scale, !same, err)
			}
		}
		if _, err := sample(Cond{}, &ClassifierGuidance{Scale: 1, Gradient: gradient}); err == nil || !strings.Contains(err.Error(), "needs class labels") {
			t.Errorf("without labels: %v", err)
		}
	})
}
