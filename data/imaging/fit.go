package imaging

import (
	"fmt"
	"math"
)

// Fit writes the preprocessed image into dst, [size, size, 3], as in the reference: it
// halves p with a box filter while its short side is at least 2*size, resizes the short
// side to size with the bicubic filter, and crops the centre.
func (p Image) Fit(dst []byte, size int) error {
	return p.FitTo(dst, size, size, centre(size))
}

// centre places a center crop of size x size pixels.
func centre(size int) func(w, h int) (x, y int) {
	return func(w, h int) (x, y int) { return (w - size) / 2, (h - size) / 2 }
}

// longestSide bounds the scaled image before the crop. Only images with an extreme
// aspect ratio reach it.
const longestSide = 1 << 22

// FitTo is Fit with a scaled short side of short >= size pixels, and a crop whose corner
// place returns for the scaled image of w x h pixels.
func (p Image) FitTo(dst []byte, size, short int, place func(w, h int) (x, y int)) error {
	return p.fitTo(dst, size, short, place, verticalFirst)
}

func (p Image) fitTo(dst []byte, size, short int, place func(w, h int) (x, y int), order passOrder) error {
	if size < 1 || short < size || len(dst) < size*size*3 || min(p.w, p.h) < 1 {
		return fmt.Errorf("%d x %d pixels cannot be resized to a short side of %d and cropped to %d x %d pixels in %d bytes", p.w, p.h, short, size, size, len(dst))
	}
	palette := p.palette
	for min(p.w, p.h) >= 2*short {
		if palette {
			p = nearest(p, p.w/2, p.h/2, rect{w: p.w / 2, h: p.h / 2})
		} else {
			p = halve(p, order)
		}
	}
	scale := float64(short) / float64(min(p.w, p.h))
	if float64(max(p.w, p.h))*scale > longestSide {
		return fmt.Errorf("%d x %d pixels are too long and thin to be scaled to a short side of %d", p.w, p.h, short)
	}
	w := int(math.RoundToEven(float64(p.w) * scale))
	h := int(math.RoundToEven(float64(p.h) * scale))
	x, y := place(w, h)
	if x < 0 || y < 0 || x > w-size || y > h-size {
		return fmt.Errorf("a crop of %d x %d pixels at (%d, %d) is not inside an image of %d x %d", size, size, x, y, w, h)
	}
	crop := rect{x: x, y: y, w: size, h: size}
	if palette && (w != p.w || h != p.h) {
		p = nearest(p, w, h, crop)
	} else {
		p = resample(p, bicubicFilter, w, h, crop, order)
	}
	p.writeRGB(dst)
	return nil
}
