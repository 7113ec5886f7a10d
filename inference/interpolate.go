package inference

import (
	"cmp"
	"context"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
)

// Interpolate generates images along the path from the first sample of one seed to the first
// sample of another, both included, by a deterministic sampler (o's, or else DDIM with eta 0): the latents
// in between are interpolated along a great circle. o.Count is the number of images, at least 2 (0: 8). All images have one class.
func (m *Model) Interpolate(ctx context.Context, from, to uint64, o SampleOptions) (Samples, error) {
	if m.config.SuperRes() {
		return Samples{}, ErrNeedsImages
	}
	if o.Eta, o.First, o.Latents, o.Edit, o.Inpaint = 0, 0, nil, nil, nil; !o.Sampler.Deterministic(0) {
		o.Sampler = diffusion.DDIM
	}
	o.Count = max(cmp.Or(o.Count, 8), 2)
	s := &sampling{Model: m, SampleOptions: o, oneClass: true}
	s.xT = func(first, n int, noise diffusion.NoiseSource) gotorch.Tensor {
		noise.FirstImage, noise.Shape = 0, append([]int64{1}, noise.Shape[1:]...)
		noise.Seed = from
		a := noise.XT()
		noise.Seed = to
		b := noise.XT()
		between := make([]gotorch.Tensor, n)
		for i := range between {
			between[i] = diffusion.Slerp(a, b, float64(first+i)/float64(s.Count-1))
		}
		return gotorch.Cat(between, 0)
	}
	return s.run(ctx)
}
