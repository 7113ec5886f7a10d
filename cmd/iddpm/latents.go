package main

import (
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/diffusion"
	"iddpm/train"
)

// latents are noises to start from, by their places in a file, and what they are
// to become.
type latents struct {
	values []float32 // [N, C, H, W]
	shape  []int64
	labels []int64 // [N], or none
}

func (l *latents) len() int { return int(l.shape[0]) }

// readLatents reads the file that --invert writes: arr_0, float32 [N, C, H, W],
// and with classes arr_1 [N].
func readLatents(path string, c train.Config) (*latents, error) {
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		return nil, err
	}
	size := int64(c.Model.ImageSize)
	want := []int64{int64(c.Model.InChannels), size, size}
	a := arrays["arr_0"]
	if a == nil || a.DType != npy.Float32 || len(a.Shape) != 4 || a.Shape[0] < 1 || !slices.Equal(a.Shape[1:], want) {
		return nil, fmt.Errorf("%s holds no latents of this network: arr_0 must be float32 [N, %d, %d, %d], as --invert writes it", path, want[0], want[1], want[2])
	}
	l := &latents{shape: a.Shape}
	if l.values, err = a.Float32s(); err != nil {
		return nil, err
	}
	if b := arrays["arr_1"]; b != nil && c.Model.ClassCond {
		if l.labels, err = b.Int64s(); err != nil || len(l.labels) != l.len() {
			return nil, fmt.Errorf("%s: arr_1 must be the classes of its %d latents", path, l.len())
		}
		for _, label := range l.labels {
			if label < 0 || label >= int64(c.Model.NumClasses) {
				return nil, fmt.Errorf("%s: class %d in arr_1 is not one of the network's %d", path, label, c.Model.NumClasses)
			}
		}
	}
	return l, nil
}

// add appends a batch.
func (l *latents) add(x gotorch.Tensor, labels []int64) {
	l.values = append(l.values, x.Contiguous().Float32s()...)
	l.labels = append(l.labels, labels...)
	if l.shape == nil {
		l.shape = append([]int64{0}, x.Shape()[1:]...)
	}
	l.shape[0] += x.Size(0)
}

// slice returns n latents on a device.
func (l *latents) slice(first, n int, device gotorch.Device) gotorch.Tensor {
	each := len(l.values) / l.len()
	shape := append([]int64{int64(n)}, l.shape[1:]...)
	return gotorch.FromFloat32s(l.values[first*each:(first+n)*each], shape...).To(device)
}

// name is what a file of the latents is called.
func (l *latents) name() string {
	return fmt.Sprintf("latents_%dx%dx%dx%d.npz", l.shape[0], l.shape[1], l.shape[2], l.shape[3])
}

// save writes the latents as readLatents reads them.
func (l *latents) save(path string) error {
	values, err := npy.New(l.values, l.shape...)
	if err != nil {
		return err
	}
	arrays := []npy.Named{{Array: values}}
	if len(l.labels) > 0 {
		labels, err := npy.New(l.labels)
		if err != nil {
			return err
		}
		arrays = append(arrays, npy.Named{Array: labels})
	}
	return cannotWrite(path, npy.WriteNPZFile(path, arrays...))
}

// xT returns the noise that images start from: that of a file, that between
// two seeds, or that of the seed.
func (s *sampler) xT(first, n int, noise diffusion.NoiseSource) gotorch.Tensor {
	switch {
	case s.given != nil:
		return s.given.slice(first, n, s.device)
	case len(s.interpolate) > 0:
		return s.between(first, n, noise)
	}
	return noise.XT()
}

// between returns images on the way from the first image of one seed to that
// of another, ends included.
func (s *sampler) between(first, n int, noise diffusion.NoiseSource) gotorch.Tensor {
	noise.FirstImage, noise.Shape = 0, append([]int64{1}, noise.Shape[1:]...)
	noise.Seed = s.interpolate[0]
	a := noise.XT()
	noise.Seed = s.interpolate[1]
	b := noise.XT()
	steps := make([]gotorch.Tensor, n)
	for i := range steps {
		steps[i] = diffusion.Slerp(a, b, float64(first+i)/float64(s.count-1))
	}
	return gotorch.Cat(steps, 0)
}
