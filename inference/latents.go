package inference

import (
	"github.com/wangkuiyi/gotorch"

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
