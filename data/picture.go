package data

import (
	"fmt"
	"image"
	"image/color"
)

// picture is a decoded picture of any size, before it is fitted to the training
// size. Rows are contiguous.
type picture struct {
	w, h int
	c    int    // channels: 1 grey, 3 RGB, 4 CMYK (0 is no ink)
	pix  []byte // [h, w, c]

	// palette says that the picture came with a palette or as one bit per
	// pixel; such pictures are resized by the nearest pixel, as Pillow does.
	palette bool

	memory *memory // that pix is from, and that what is made of the picture will be from
}

// newPicture returns a picture of any content.
func newPicture(m *memory, w, h, c int) picture {
	return picture{w: w, h: h, c: c, pix: m.take(w * h * c), memory: m}
}

func (p picture) row(y int) []byte { return p.pix[y*p.w*p.c : (y+1)*p.w*p.c] }

// cropped returns the part r of p, without a copy where r is all of p.
func (p picture) cropped(r rect) picture {
	if r.w == p.w && r.x == 0 {
		p.pix = p.pix[r.y*p.w*p.c : (r.y+r.h)*p.w*p.c]
		p.h = r.h
		return p
	}
	out := newPicture(p.memory, r.w, r.h, p.c)
	for y := range r.h {
		copy(out.row(y), p.row(r.y + y)[r.x*p.c:])
	}
	return out
}

// writeRGB writes p as RGB into dst, [h, w, 3].
func (p picture) writeRGB(dst []byte) {
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

// div255 divides by 255, rounded to nearest, for 0 <= v <= 255*255.
func div255(v int) int {
	v += 128
	return (v>>8 + v) >> 8
}

// background is the colour under transparent pixels.
type background [3]byte

func newBackground(c color.Color) background {
	if c == nil {
		return background{255, 255, 255}
	}
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return background{n.R, n.G, n.B}
}

// blend writes straight-alpha colour rgb over the background into dst.
func (bg background) blend(dst, rgb []byte, alpha byte) {
	a := int(alpha)
	for i := range 3 {
		dst[i] = byte(div255(int(rgb[i])*a + int(bg[i])*(255-a)))
	}
}

// toPicture converts what Go's decoders return for a format. 16-bit values keep
// their high byte; transparent pixels are composited on the background.
func (d decoding) toPicture(img image.Image, format string) (picture, error) {
	m, bg, b := d.memory, d.background, img.Bounds()
	w, h := b.Dx(), b.Dy()
	switch img := img.(type) {
	case *image.Gray:
		p := newPicture(m, w, h, 1)
		copyRows(p, img.Pix, img.Stride, 1)
		return p, nil
	case *image.Gray16:
		p := newPicture(m, w, h, 1)
		copyRows(p, img.Pix, img.Stride, 2)
		return p, nil
	case *image.RGBA:
		return fromPremultiplied(m, w, h, img.Pix, img.Stride, bg), nil
	case *image.NRGBA:
		return fromStraight(m, w, h, img.Pix, img.Stride, 4, bg), nil
	case *image.RGBA64:
		// The decoders use RGBA64 for opaque pictures only.
		p := newPicture(m, w, h, 3)
		copyRows(p, img.Pix, img.Stride, 8)
		return p, nil
	case *image.NRGBA64:
		return fromStraight(m, w, h, img.Pix, img.Stride, 8, bg), nil
	case *image.Paletted:
		return fromPalette(m, img, bg), nil
	case *image.CMYK:
		p := newPicture(m, w, h, 4)
		copyRows(p, img.Pix, img.Stride, 4)
		return p, nil
	case *image.YCbCr:
		if format == "webp" {
			return fromWebP(m, img), nil
		}
		return fromYCbCr(m, img), nil
	case *image.NYCbCrA:
		// Only WebP has such pictures.
		p := fromWebP(m, &img.YCbCr)
		bg.under(p, img.A, img.AStride)
		return p, nil
	}
	return picture{}, fmt.Errorf("pixels of type %T are not supported", img)
}

// copyRows fills p from rows of pixels that are step bytes apart; for 16-bit
// values (big endian) every other byte is taken.
func copyRows(p picture, pix []byte, stride, step int) {
	wide := step >= 2*p.c
	for y := range p.h {
		dst, src := p.row(y), pix[y*stride:]
		if step == p.c {
			copy(dst, src)
			continue
		}
		for x := range p.w {
			for k := range p.c {
				at := x*step + k
				if wide {
					at = x*step + 2*k
				}
				dst[x*p.c+k] = src[at]
			}
		}
	}
}

// fromPremultiplied converts RGBA, which Go's decoders use for opaque pictures.
func fromPremultiplied(m *memory, w, h int, pix []byte, stride int, bg background) picture {
	p := newPicture(m, w, h, 3)
	for y := range h {
		dst, src := p.row(y), pix[y*stride:]
		for x := range w {
			in, out := src[4*x:4*x+4:4*x+4], dst[3*x:3*x+3:3*x+3]
			out[0], out[1], out[2] = in[0], in[1], in[2]
			if a := int(in[3]); a != 255 {
				for k := range 3 {
					out[k] = byte(min(int(in[k])+div255(int(bg[k])*(255-a)), 255))
				}
			}
		}
	}
	return p
}

// fromStraight converts NRGBA (step 4) and NRGBA64 (step 8).
func fromStraight(m *memory, w, h int, pix []byte, stride, step int, bg background) picture {
	p := newPicture(m, w, h, 3)
	wide := step / 4
	for y := range h {
		dst, src := p.row(y), pix[y*stride:]
		for x := range w {
			in, out := src[step*x:step*x+step], dst[3*x:3*x+3:3*x+3]
			out[0], out[1], out[2] = in[0], in[wide], in[2*wide]
			if a := in[3*wide]; a != 255 {
				bg.blend(out, out, a)
			}
		}
	}
	return p
}

func fromPalette(m *memory, img *image.Paletted, bg background) picture {
	var colours [256][3]byte // an index beyond the palette is black
	for i, c := range img.Palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		bg.blend(colours[i][:], []byte{n.R, n.G, n.B}, n.A)
	}
	p := newPicture(m, img.Rect.Dx(), img.Rect.Dy(), 3)
	p.palette = true
	for y := range p.h {
		dst, src := p.row(y), img.Pix[y*img.Stride:]
		for x := range p.w {
			copy(dst[3*x:3*x+3], colours[src[x]][:])
		}
	}
	return p
}

// under composites p on the background, given p's alpha plane.
func (bg background) under(p picture, alpha []byte, stride int) {
	for y := range p.h {
		dst, alpha := p.row(y), alpha[y*stride:]
		for x := range p.w {
			if a := alpha[x]; a != 255 {
				bg.blend(dst[3*x:3*x+3], dst[3*x:3*x+3], a)
			}
		}
	}
}

// turned returns p as it is meant to be seen, for an EXIF orientation of 1..8.
func (p picture) turned(orientation int) picture {
	if orientation < 2 || orientation > 8 {
		return p
	}
	w, h := p.w, p.h
	if orientation >= 5 {
		w, h = h, w
	}
	out := newPicture(p.memory, w, h, p.c)
	out.palette = p.palette
	for y := range h {
		for x := range w {
			sx, sy := turnedFrom(orientation, x, y, p.w, p.h)
			copy(out.pix[(y*w+x)*p.c:(y*w+x+1)*p.c], p.pix[(sy*p.w+sx)*p.c:])
		}
	}
	return out
}

// turnedFrom returns where in a stored w x h picture the pixel (x, y) of the
// seen picture lies.
func turnedFrom(orientation, x, y, w, h int) (int, int) {
	switch orientation {
	case 2:
		return w - 1 - x, y
	case 3:
		return w - 1 - x, h - 1 - y
	case 4:
		return x, h - 1 - y
	case 5:
		return y, x
	case 6:
		return y, h - 1 - x
	case 7:
		return w - 1 - y, h - 1 - x
	default:
		return w - 1 - y, x
	}
}
