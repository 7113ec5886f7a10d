package diffusion

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

func TestInpaintingPath(t *testing.T) {
	for _, c := range []struct {
		p    Inpainting
		n    int
		want []int
	}{
		{Inpainting{}, 4, []int{3, 2, 1, 0}},
		{Inpainting{Resamplings: 2}, 3, []int{2, 2, 1, 1, 0}}, // algorithm 1: all but the last step twice
		{Inpainting{Resamplings: 3, Jump: 2}, 6, []int{5, 4, 5, 4, 5, 4, 3, 2, 3, 2, 3, 2, 1, 0}},
		{Inpainting{Resamplings: 2, Jump: 3}, 5, []int{4, 3, 2, 1, 0}}, // no whole part lies above 3
		{Inpainting{Resamplings: 2, Jump: 9}, 2, []int{1, 0}},
	} {
		if got := c.p.path(c.n); !slices.Equal(got, c.want) || c.p.Steps(c.n) != len(c.want) {
			t.Errorf("%+v of %d: %v, want %v", c.p, c.n, got, c.want)
		}
	}
}

// TestInpaintingMatchesAlgorithm compares loops with RePaint's algorithm 1 written out, by ancestral
// sampling, and checks that known pixels are kept by every sampler.
func TestInpaintingMatchesAlgorithm(t *testing.T) {
	d := process(t, Cosine, 6, Objective{VarType: FixedSmall})
	gotorch.Scope(func() {
		known := images(2, 3, 4, 4)
		values := make([]float32, 2*4*4)
		for i := range values {
			values[i] = float32(i / 3 % 2)
		}
		mask := gotorch.FromFloat32s(values, 2, 1, 4, 4)
		noise := func(i int) gotorch.Tensor { return noiseOf(2, 3, 4, 4).At(100 + i) }
		network := gaussianData(d, 0.5)
		p := &Inpainting{Known: known, Mask: mask, Resamplings: 2, Noise: noise}

		x := noiseOf(2, 3, 4, 4).XT()
		for i, step := range p.path(6) {
			x, _ = d.PSample(network, x, d.AtStep(step, 2), noise(3*i), Cond{}, true)
			from := known
			if step > 0 {
				from = d.QSample(known, d.AtStep(step-1, 2), noise(3*i+1))
			}
			x = from.Mul(mask).Add(x.Mul(mask.Neg().AddScalar(1)), 1)
			if next := p.path(6)[min(i+1, p.Steps(6)-1)]; next == step && step > 0 { // back to x_t by one beta
				beta := d.Betas[step]
				x = x.MulScalar(math.Sqrt(1-beta)).Add(noise(3*i+2), math.Sqrt(beta))
			}
		}
		got := sampled(t, d, network, noiseOf(2, 3, 4, 4).XT(), SampleOptions{Inpainting: p})
		golden.WithinOfMax(t, "algorithm 1", got.Float32s(), x.Float32s(), 1e-5)

		for _, s := range Samplers() {
			p.Jump, p.Resamplings = 2, 3
			count := 0
			o := SampleOptions{Sampler: s, Inpainting: p, Progress: func(int, gotorch.Tensor) error { count++; return nil }}
			got := sampled(t, d, network, noiseOf(2, 3, 4, 4).XT(), o)
			golden.WithinOfMax(t, s.String(), got.Mul(mask).Float32s(), known.Mul(mask).Float32s(), 0)
			if free := mask.Neg().AddScalar(1); stdvOf(got.Sub(known, 1).Mul(free)) < 0.1 || count != p.Steps(6) {
				t.Errorf("%s: the other pixels are the given ones, after %d steps", s, count)
			}
		}
		for _, bad := range []*Inpainting{{Known: known, Mask: mask}, {Known: known.Narrow(0, 0, 1), Mask: mask, Noise: noise}, {Known: known, Mask: mask, Noise: noise, Jump: -1}} {
			if _, err := d.SampleLoop(context.Background(), network, noise(0), Cond{}, SampleOptions{Inpainting: bad}); err == nil {
				t.Error(fmt.Sprint("no error of ", bad.Jump))
			}
		}
	})
}
