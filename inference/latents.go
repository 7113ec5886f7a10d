package inference

import (
	"cmp"
	"context"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/train/engine"
)

// Latents are the noise x_T from which a deterministic sampler, such as DDIM with eta 0, generates images. The zero value holds none.
type Latents struct {
	Values []float32 // [N, C, H, W]
	Shape  []int64   // N, C, H, W; nil where there are none
	Labels []int64   // [N] classes of the images, or nil
}

// Len returns the number of latents.
func (l *Latents) Len() int {
	if len(l.Shape) == 0 {
		return 0
	}
	return int(l.Shape[0])
}

// Images returns the latents as images to look at: Gaussian noise at a third of its amplitude, so that
// three standard deviations fill the range of pixels.
func (l *Latents) Images() (all Images) {
	gotorch.Run(func() {
		gotorch.Scope(func() {
			x := l.tensor(0, l.Len(), gotorch.Device{})
			all = Images{Size: int(l.Shape[2]), Pixels: engine.TensorToPixels(x.MulScalar(1. / 3))}
		})
	})
	return all
}

// add appends a batch, [n, C, H, W].
func (l *Latents) add(x gotorch.Tensor, labels []int64) {
	l.Values = append(l.Values, x.Contiguous().Float32s()...)
	l.Labels = append(l.Labels, labels...)
	if l.Shape == nil {
		l.Shape = append([]int64{0}, x.Shape()[1:]...)
	}
	l.Shape[0] += x.Size(0)
}

// tensor returns n latents on a device.
func (l *Latents) tensor(first, n int, device gotorch.Device) gotorch.Tensor {
	each := len(l.Values) / l.Len()
	shape := append([]int64{int64(n)}, l.Shape[1:]...)
	return gotorch.FromFloat32s(l.Values[first*each:(first+n)*each], shape...).To(device)
}

// check refuses latents that do not fit a model.
func (l *Latents) check(m *Model) error {
	if l.Len() == 0 || int(l.Shape[2]) != m.config.ImageSize {
		size := 0
		if l.Len() > 0 {
			size = int(l.Shape[2])
		}
		return &SizeError{What: "latents", Got: size, Want: m.config.ImageSize}
	}
	return m.checkLabels(l.Labels)
}

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
