package diffusion

import (
	"context"
	"math"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

// TestDDIMEtaOneMatchesAncestral: DDIM with eta 1 is ancestral sampling with the
// posterior's variance.
func TestDDIMEtaOneMatchesAncestral(t *testing.T) {
	d := process(t, Linear, 100, Objective{VarType: FixedSmall})
	gotorch.Scope(func() {
		noise := noiseOf(2, 3, 8, 8)
		network := gaussianData(d, 0.3)
		ancestral := sampled(t, d, network, noise.XT(), SampleOptions{Noise: noise.At})
		ddim := sampled(t, d, network, noise.XT(), SampleOptions{Sampler: DDIM, Eta: 1, Noise: noise.At})
		golden.WithinOfMax(t, "samples", ddim.Float32s(), ancestral.Float32s(), 1e-4)
	})
}

// TestInvertLoopReconstructs: sampling from an inverted image reconstructs it,
// approximately with many steps, accurately with refinement even with few.
func TestInvertLoopReconstructs(t *testing.T) {
	const stdv = 0.3
	for name, c := range map[string]struct {
		steps, refine int
		off           float64
	}{
		"many steps":         {400, 0, 5e-3},
		"few steps":          {40, 0, 1e-1},
		"few steps, refined": {40, 8, 2e-4},
	} {
		d := process(t, Cosine, c.steps, Objective{})
		gotorch.Scope(func() {
			network := gaussianData(d, stdv)
			img := normal(1, 2, 3, 8, 8).MulScalar(stdv).Clamp(-1, 1)
			latent, err := d.InvertLoop(context.Background(), network, img, Cond{}, InvertOptions{Refine: c.refine})
			if err != nil {
				t.Fatal(err)
			}
			if got := stdvOf(latent); math.Abs(got-1) > 0.15 {
				t.Errorf("%s: the latent's standard deviation is %v, want 1", name, got)
			}
			reconstruction := sampled(t, d, network, latent, SampleOptions{Sampler: DDIM})
			if off := stdvOf(reconstruction.Sub(img, 1)); off > c.off {
				t.Errorf("%s: the reconstruction differs by %v, more than %v", name, off, c.off)
			}
		})
	}
	d := process(t, Cosine, 4, Objective{})
	if _, err := d.InvertLoop(context.Background(), nil, gotorch.Tensor{}, Cond{}, InvertOptions{Refine: -1}); err == nil {
		t.Error("a negative refine: no error")
	}
}

// TestDDIMReverseInvertsDDIM: for a network that returns the true x_0 the two steps are
// inverse to each other.
func TestDDIMReverseInvertsDDIM(t *testing.T) {
	d := process(t, Linear, 50, Objective{MeanType: XStart})
	gotorch.Scope(func() {
		xStart := images(2, 3, 4, 4)
		x := d.QSample(xStart, d.AtStep(20, 2), normal(1, 2, 3, 4, 4))
		noisier, _ := d.DDIMReverseSample(echo(xStart), x, d.AtStep(20, 2), Cond{}, true)
		back, _ := d.DDIMSample(echo(xStart), noisier, d.AtStep(21, 2), gotorch.Tensor{}, Cond{}, true, 0)
		golden.WithinOfMax(t, "x_t", back.Float32s(), x.Float32s(), 1e-5)
	})
}
