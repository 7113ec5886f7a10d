package inference

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/internal/golden"
	"iddpm/model"
)

// classDropout is a network with a null class. In one of 32 channels the group norms remove a
// class that is only added.
func classDropout() model.Config {
	c := classConditional()
	c.ClassDropout, c.UseScaleShiftNorm = 0.1, true
	return c
}

// TestGuidance: with W = 1 samples are the unguided ones, to the bit; another W changes them, and
// W = 0 removes the influence of the class.
func TestGuidance(t *testing.T) {
	m := tinyModel(t, classDropout())
	sample := func(class int64, g *Guidance) []byte {
		return must[Samples](t)(m.Sample(t.Context(), SampleOptions{Count: 3, Classes: []int64{class}, Guidance: g})).Pixels
	}
	plain := sample(1, nil)
	for _, w := range []float64{1, 0, 4, 1} { // the captured step changes each time
		if got := sample(1, &Guidance{Scale: w}); bytes.Equal(got, plain) != (w == 1) {
			t.Errorf("guidance %g: as without: %t", w, w != 1)
		}
	}
	if !bytes.Equal(sample(0, &Guidance{}), sample(2, &Guidance{})) {
		t.Error("with W = 0 the class changes the sample")
	}
	if !bytes.Equal(sample(1, &Guidance{Scale: 4, MinSigma: 1e9}), plain) {
		t.Error("guidance acts outside its interval")
	}
}

// TestGuidedNetwork compares the one batched evaluation of a guided step with two separate
// evaluations of the network.
func TestGuidedNetwork(t *testing.T) {
	m := tinyModel(t, classDropout())
	gotorch.Run(func() {
		gotorch.NoGrad(func() {
			gotorch.Scope(func() {
				const w = 3
				x := m.noise(1, 0, 2).XT()
				steps := gotorch.FromFloat32s([]float32{1, 3})
				guided := diffusion.Guidance{Scale: w, NullClass: 3}.Denoiser(m.denoise)(x, steps, m.cond([]int64{0, 2})).Float32s()
				own, null := m.denoise(x, steps, m.cond([]int64{0, 2})).Float32s(), m.denoise(x, steps, m.cond([]int64{3, 3})).Float32s()
				want := make([]float64, len(own))
				for i := range want {
					want[i] = (1-w)*float64(null[i]) + w*float64(own[i])
				}
				golden.WithinOfMax(t, "epsilon", guided, want, 1e-6)
			})
		})
	})
}

// TestGuidanceEverywhere guides upsampling and interpolation.
func TestGuidanceEverywhere(t *testing.T) {
	c := superResolution()
	c.ClassCond, c.NumClasses, c.ClassDropout, c.UseScaleShiftNorm = true, 3, 0.1, true
	small := Images{Size: 8, Pixels: make([]byte, 8*8*3), Labels: []int64{2}}
	up, flat := tinyModel(t, c), tinyModel(t, classDropout())
	for name, generate := range map[string]func(o SampleOptions) (Samples, error){
		"upsampled":    func(o SampleOptions) (Samples, error) { return up.Upsample(t.Context(), small, o) },
		"interpolated": func(o SampleOptions) (Samples, error) { return flat.Interpolate(t.Context(), 1, 2, o) },
	} {
		plain := must[Samples](t)(generate(SampleOptions{}))
		guided := must[Samples](t)(generate(SampleOptions{Guidance: &Guidance{Scale: 5}}))
		if bytes.Equal(plain.Pixels, guided.Pixels) {
			t.Errorf("guidance does not change %s images", name)
		}
	}
}

// TestAutoguidance: a network that guides itself changes its samples only by rounding, another
// one, also without classes, changes them, and both can alternate.
func TestAutoguidance(t *testing.T) {
	m, same, other := tinyModel(t, classConditional()), tinyModel(t, classConditional()), tinyModel(t, tinyConfig())
	sample := func(g *Guidance) []byte {
		return must[Samples](t)(m.Sample(t.Context(), SampleOptions{Count: 2, Classes: []int64{1}, Guidance: g})).Pixels
	}
	plain, guided := sample(nil), sample(&Guidance{Scale: 3, Guide: other})
	if !near(sample(&Guidance{Scale: 3, Guide: same}), plain) {
		t.Error("a network guided by a copy of itself generates other samples")
	}
	if near(guided, plain) {
		t.Error("another network does not change the samples")
	}
	if !bytes.Equal(sample(&Guidance{Scale: 3, Guide: other}), guided) || !bytes.Equal(sample(nil), plain) {
		t.Error("samples depend on the guide of earlier ones")
	}
}

func TestGuidanceRefuses(t *testing.T) {
	m := tinyModel(t, classConditional())
	larger := superResolution()
	other := tinyModel(t, tinyConfig())
	gotorch.Run(func() {
		var err error
		if other.process, err = diffusion.New(diffusion.Config{Steps: 5, NoiseSchedule: diffusion.Cosine}, gotorch.Device{}); err != nil {
			t.Fatal(err)
		}
	})
	few := classConditional()
	few.NumClasses = 2
	if _, err := m.Sample(t.Context(), SampleOptions{Guidance: &Guidance{Scale: 2}}); !errors.Is(err, ErrNoNullClass) {
		t.Errorf("no null class: %v", err)
	}
	for name, guide := range map[string]*Model{"size": tinyModel(t, larger), "classes": tinyModel(t, few), "diffusion": other} {
		_, err := m.Sample(t.Context(), SampleOptions{Guidance: &Guidance{Scale: 2, Guide: guide}})
		if e := (*GuideError)(nil); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNullClassIsNoClass: random classes and labels never include the null class, and the
// likelihood is that of the true class.
func TestNullClassIsNoClass(t *testing.T) {
	m := tinyModel(t, classDropout())
	if got := m.TrainedClasses(); !slices.Equal(got, []int64{0, 1, 2}) {
		t.Errorf("classes %v", got)
	}
	_, err := m.Sample(t.Context(), SampleOptions{Classes: []int64{3}})
	if e := (*ClassError)(nil); !errors.As(err, &e) {
		t.Errorf("the null class is sampled: %v", err)
	}
	bound := func(label int64) float64 {
		images := Images{Size: 8, Pixels: make([]byte, 8*8*3), Labels: []int64{label}}
		sum := must[diffusion.BPDSum](t)(m.Likelihood(t.Context(), images.Source(), 1, LikelihoodOptions{}))
		return sum.Total[0]
	}
	if bound(0) == bound(1) {
		t.Error("the bound does not depend on the class")
	}
}
