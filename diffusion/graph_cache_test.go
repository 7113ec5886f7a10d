package diffusion

import (
	"context"
	"fmt"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

// TestGraphCacheShared compares loops that share a GraphCache, in any order, with loops
// that have their own.
func TestGraphCacheShared(t *testing.T) {
	d := process(t, Cosine, 8, Objective{VarType: LearnedRange})
	conditioned := func(x, scaled gotorch.Tensor, cond Cond) gotorch.Tensor {
		shift := cond.Y.To(cpu, gotorch.Float).View(-1, 1, 1, 1).Add(cond.LowRes.MeanDims(true, 1, 2, 3), 1)
		return gotorch.Cat([]gotorch.Tensor{x.Add(shift, 0.1), x.Tanh()}, 1)
	}
	type batch struct{ first, n int64 }
	loops := map[string]func(b batch, r *GraphCache) ([]float32, error){}
	add := func(name string, f func(noise NoiseSource, cond Cond, r *GraphCache) (gotorch.Tensor, error)) {
		loops[name] = func(b batch, r *GraphCache) (values []float32, err error) {
			gotorch.Scope(func() {
				noise := NoiseSource{Seed: 7, FirstImage: b.first, Shape: []int64{b.n, 3, 4, 4}}
				cond := Cond{Y: gotorch.FromInt64s([]int64{b.first, 1, 2}[:b.n]), LowRes: normal(uint32(b.first), b.n, 3, 2, 2)}
				var x gotorch.Tensor
				if x, err = f(noise, cond, r); err == nil {
					values = x.Float32s()
				}
			})
			return values, err
		}
	}
	sample := func(o SampleOptions) func(noise NoiseSource, cond Cond, r *GraphCache) (gotorch.Tensor, error) {
		return func(noise NoiseSource, cond Cond, r *GraphCache) (gotorch.Tensor, error) {
			o.Noise, o.GraphCache = noise.At, r
			return d.SampleLoop(context.Background(), conditioned, noise.XT(), cond, o)
		}
	}
	add("ancestral", sample(SampleOptions{}))
	add("with progress", sample(SampleOptions{Progress: func(int, gotorch.Tensor) error { return nil }}))
	add("skipping steps", sample(SampleOptions{SkipSteps: 3}))
	add("guided", sample(SampleOptions{Guidance: &Guidance{Scale: 2, NullClass: 9}}))
	add("guided more", sample(SampleOptions{Guidance: &Guidance{Scale: 3, NullClass: 9}}))
	add("guided in an interval", sample(SampleOptions{Sampler: DDIM, Guidance: &Guidance{Scale: 2, NullClass: 9, MinSigma: d.Sigma(2), MaxSigma: d.Sigma(5)}}))
	byClass := &ClassifierGuidance{Scale: 2, Gradient: func(x, _ gotorch.Tensor, cond Cond) gotorch.Tensor {
		return x.Sin().Mul(cond.Y.To(cpu, gotorch.Float).View(-1, 1, 1, 1))
	}}
	add("by a classifier", sample(SampleOptions{Classifier: byClass}))
	add("by a classifier, ddim", sample(SampleOptions{Sampler: DDIM, Eta: 0.3, Classifier: byClass, Guidance: &Guidance{Scale: 2, NullClass: 9}}))
	add("unclipped", sample(SampleOptions{NoClipDenoised: true}))
	add("ddim", sample(SampleOptions{Sampler: DDIM}))
	add("ddim, 0.5", sample(SampleOptions{Sampler: DDIM, Eta: 0.5}))
	for _, s := range []Sampler{DPMPP2M, DPMPP2MSDE, Heun} {
		add(s.String(), sample(SampleOptions{Sampler: s}))
		add(s.String()+", skipping steps", sample(SampleOptions{Sampler: s, SkipSteps: 3}))
		add(s.String()+", guided in an interval, by a classifier", sample(SampleOptions{Sampler: s, Classifier: byClass, Guidance: &Guidance{Scale: 2, NullClass: 9, MinSigma: d.Sigma(2), MaxSigma: d.Sigma(5)}}))
	}
	add("ddim, 1", sample(SampleOptions{Sampler: DDIM, Eta: 1}))
	for name, refine := range map[string]int{"inverted": 0, "inverted, refined": 2} {
		add(name, func(noise NoiseSource, cond Cond, r *GraphCache) (gotorch.Tensor, error) {
			return d.InvertLoop(context.Background(), conditioned, noise.XT(), cond, InvertOptions{Refine: refine, GraphCache: r})
		})
	}
	add("bound", func(noise NoiseSource, cond Cond, r *GraphCache) (gotorch.Tensor, error) {
		b, err := d.CalcBPD(context.Background(), conditioned, noise.XT().Tanh(), cond, BPDOptions{Noise: noise.At, GraphCache: r})
		defer b.Free()
		return b.VB.Clone(), err
	})
	gotorch.Scope(func() {
		var shared GraphCache
		defer shared.Close()
		for range 2 {
			for name, loop := range loops { // map order differs each time
				for i, b := range []batch{{0, 2}, {2, 2}, {4, 1}, {4, 3}} {
					before := shared.step
					want, err := loop(b, nil)
					got, err2 := loop(b, &shared)
					if err != nil || err2 != nil {
						t.Fatal(name, err, err2)
					}
					if reused := shared.step == before; reused != (i == 1) {
						t.Errorf("%s, batch %d: the previous batch's step is reused: %v", name, i, reused)
					}
					golden.WithinOfMax(t, fmt.Sprint(name, b), got, want, 0)
				}
			}
		}
	})
}
