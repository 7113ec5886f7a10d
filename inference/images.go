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
