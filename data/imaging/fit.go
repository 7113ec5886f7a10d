package imaging

import (
	"fmt"
	"math"
)

// Fit writes into dst, [size, size, 3], what the reference trains on: p halved
// with a box filter while its short side is at least twice the size, scaled with
// the bicubic filter until the short side is the size, and cropped to its centre.
func (p Image) Fit(dst []byte, size int) error {
	return p.FitTo(dst, size, size, centre(size))
}

// centre places a crop of size x size pixels.
func centre(size int) func(w, h int) (x, y int) {
	return func(w, h int) (x, y int) { return (w - size) / 2, (h - size) / 2 }
}

// longestSide bounds the image that a crop is taken from: only an image that
// is a thread beside its short side comes near it.
const longestSide = 1 << 22

// FitTo is Fit with a short side of its own, at least size, and a crop from where place
// says in the scaled image of w x h pixels.
func (p Image) FitTo(dst []byte, size, short int, place func(w, h int) (x, y int)) error {
	return p.fitTo(dst, size, short, place, verticalFirst)
}

func (p Image) fitTo(dst []byte, size, short int, place func(w, h int) (x, y int), order passOrder) error {
	if size < 1 || short < size || len(dst) < size*size*3 || min(p.w, p.h) < 1 {
		return fmt.Errorf("%d x %d pixels cannot be fitted to a short side of %d, and %d x %d of them into %d bytes", p.w, p.h, short, size, size, len(dst))
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
		return fmt.Errorf("%d x %d pixels from (%d, %d) on are not all in an image of %d x %d", size, size, x, y, w, h)
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
