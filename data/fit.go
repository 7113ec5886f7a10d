package data

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// fit writes into dst, [size, size, 3], what the reference trains on: p halved
// with a box filter while its short side is at least twice the size, scaled with
// the bicubic filter until the short side is the size, and cropped to its centre.
func fit(dst []byte, p picture, size int) error {
	return fitTo(dst, p, size, size, func(w, h int) (x, y int) {
		return (w - size) / 2, (h - size) / 2
	})
}

// fitRandomly is fit with a short side drawn from [size, size/0.8] and a crop
// anywhere: the random crop of the reference's successor, guided-diffusion.
func fitRandomly(dst []byte, p picture, size int, r *rand.PCG) error {
	longest := int(math.Ceil(float64(size) / 0.8))
	short := size + int(below(r, uint64(longest-size+1)))
	return fitTo(dst, p, size, short, func(w, h int) (x, y int) {
		y = int(below(r, uint64(h-size+1)))
		x = int(below(r, uint64(w-size+1)))
		return x, y
	})
}

// longestSide bounds the picture that a crop is taken from: only a picture that
// is a thread beside its short side comes near it.
const longestSide = 1 << 22

func fitTo(dst []byte, p picture, size, short int, place func(w, h int) (x, y int)) error {
	palette := p.palette
	for min(p.w, p.h) >= 2*short {
		if palette {
			p = nearest(p, p.w/2, p.h/2, rect{w: p.w / 2, h: p.h / 2})
		} else {
			p = halve(p)
		}
	}
	scale := float64(short) / float64(min(p.w, p.h))
	if float64(max(p.w, p.h))*scale > longestSide {
		return fmt.Errorf("%d x %d pixels are too long and thin to be scaled to a short side of %d", p.w, p.h, short)
	}
	w := int(math.RoundToEven(float64(p.w) * scale))
	h := int(math.RoundToEven(float64(p.h) * scale))
	x, y := place(w, h)
	crop := rect{x: x, y: y, w: size, h: size}
	if palette && (w != p.w || h != p.h) {
		p = nearest(p, w, h, crop)
	} else {
		p = resample(p, bicubicFilter, w, h, crop)
	}
	p.writeRGB(dst)
	return nil
}
