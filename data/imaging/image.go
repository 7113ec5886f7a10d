package imaging

import (
	"fmt"
	"image"
	"math/bits"
)

// Image is a decoded image of any size, before preprocessing. Rows are contiguous.
type Image struct {
	w, h int
	c    int    // channels: 1 grey, 3 RGB, 4 CMYK (0 is no ink)
	pix  []byte // [h, w, c]

	// palette says that the file has a palette or one bit per pixel. Such images are
	// resized by nearest-neighbour interpolation, as in Pillow.
	palette bool

	warning Warning

	memory *Memory // owner of pix and of the images derived from this one
}

// FromPixels returns an image of w x h pixels, [h, w, c], and may keep pix. c is 1 for
// grey, 3 for RGB, and 4 for RGB and straight alpha, which is composited on the background.
func (d Decoder) FromPixels(w, h, c int, pix []byte) (Image, error) {
	if w < 1 || h < 1 || w > MaxPixels/h || len(pix) != w*h*c {
		return Image{}, fmt.Errorf("%d bytes are not %d x %d pixels of %d channels", len(pix), w, h, c)
	}
	switch c {
	case 1, 3:
		return Image{w: w, h: h, c: c, pix: pix, memory: d.Memory}, nil
	case 4:
		return fromStraight(d.Memory, w, h, pix, 4*w, 4, d.Background), nil
	}
	return Image{}, fmt.Errorf("pixels of %d channels: only 1, 3 and 4 are supported", c)
}

// Warning says why an image that was decoded without error is probably wrong; empty if
// it looks right.
type Warning string

// Transparent is the warning of fully transparent images.
const Transparent Warning = "transparent everywhere: only the background colour is left"

// darkBits is the largest number of used bits, of 16, that causes a warning. With 14, as
// in raw camera images, an image has at most a quarter of its brightness.
const darkBits = 14

// darkWarning returns the warning for an image with 16 bits per channel whose largest
// value is most.
func darkWarning(most uint16) Warning {
	n := bits.Len16(most)
	if n == 0 || n > darkBits {
		return ""
	}
	return Warning(fmt.Sprintf("only the low %d of 16 bits are in use, so nearly black: multiply the values by %d", n, 1<<(16-n)))
}

// Warning returns the image's warning, or "".
func (p Image) Warning() Warning { return p.warning }

// Size returns the image's width and height, in pixels.
func (p Image) Size() image.Point { return image.Pt(p.w, p.h) }

// newImage returns an image with uninitialised pixels.
func newImage(m *Memory, w, h, c int) Image {
	return Image{w: w, h: h, c: c, pix: m.Take(w * h * c), memory: m}
}

func (p Image) row(y int) []byte { return p.pix[y*p.w*p.c : (y+1)*p.w*p.c] }

// cropped returns the part r of p, without a copy where r is all of p.
func (p Image) cropped(r rect) Image {
	if r.w == p.w && r.x == 0 {
		p.pix = p.pix[r.y*p.w*p.c : (r.y+r.h)*p.w*p.c]
		p.h = r.h
		return p
	}
	out := newImage(p.memory, r.w, r.h, p.c)
	for y := range r.h {
		copy(out.row(y), p.row(r.y + y)[r.x*p.c:])
	}
	return out
}

// writeRGB writes p as RGB into dst, [h, w, 3].
func (p Image) writeRGB(dst []byte) {
	switch p.c {
	case 1:
		for i, v := range p.pix {
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	case 3:
		copy(dst, p.pix)
	case 4:
		for i := range p.w * p.h {
			cmykToRGB(dst[3*i:3*i+3], p.pix[4*i:4*i+4])
		}
	}
}

// cmykToRGB is Pillow's conversion: no colour profile, ink times black.
func cmykToRGB(rgb, cmyk []byte) {
	light := 255 - int(cmyk[3])
	for i := range 3 {
		rgb[i] = byte(light - div255(int(cmyk[i])*light))
	}
}
