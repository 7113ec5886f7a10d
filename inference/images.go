package inference

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/train/engine"
)

// Images are square RGB images of one size, with or without class labels. The zero value
// holds none.
type Images struct {
	Size   int     // pixels a side
	Pixels []byte  // [N, Size, Size, 3]
	Labels []int64 // [N], or nil
}

// BytesPerImage returns the bytes of Pixels that belong to one image.
func (p *Images) BytesPerImage() int { return 3 * p.Size * p.Size }

// Len returns the number of images.
func (p *Images) Len() int {
	if p.Size == 0 {
		return 0
	}
	return len(p.Pixels) / p.BytesPerImage()
}

// Append appends images of the same size; their labels may be nil.
func (p *Images) Append(pixels []byte, labels []int64) {
	p.Pixels = append(p.Pixels, pixels...)
	p.Labels = append(p.Labels, labels...)
}

// Image returns the pixels of image i, [Size, Size, 3].
func (p *Images) Image(i int) []byte {
	each := p.BytesPerImage()
	return p.Pixels[i*each : (i+1)*each]
}

// Slice returns n images. They share memory with p.
func (p *Images) Slice(first, n int) Images {
	each := p.BytesPerImage()
	part := Images{Size: p.Size, Pixels: p.Pixels[first*each : (first+n)*each]}
	if len(p.Labels) > 0 {
		part.Labels = p.Labels[first : first+n]
	}
	return part
}

// tensor returns the images as the network's input: [N, 3, Size, Size] in [-1, 1], in
// channels-last memory, on a device.
func (p *Images) tensor(device gotorch.Device) gotorch.Tensor {
	size := int64(p.Size)
	return engine.PixelsToTensor(gotorch.FromBytes(p.Pixels, gotorch.Byte, int64(p.Len()), size, size, 3).To(device))
}

// inTurn returns n images from first on, and from the beginning again after the last. They have no labels.
func (p *Images) inTurn(first, n int) Images {
	some := Images{Size: p.Size}
	for i := first; i < first+n; i++ {
		some.Append(p.Image(i%p.Len()), nil)
	}
	return some
}

// labelsFrom returns the labels from an image on, all in turn.
func (p *Images) labelsFrom(first int) []int64 {
	if len(p.Labels) == 0 {
		return nil
	}
	from := first % len(p.Labels)
	return append(append([]int64(nil), p.Labels[from:]...), p.Labels[:from]...)
}

// checkSize returns a [*SizeError] unless p are images of a size.
func (p *Images) checkSize(what string, want int) error {
	if p.Len() == 0 || p.Size != want {
		return &SizeError{What: what, Got: p.Size, Want: want}
	}
	return nil
}
