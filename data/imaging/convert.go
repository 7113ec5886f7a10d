package imaging

import (
	"fmt"
	"image"
	"image/color"
)

// div255 divides by 255, rounded to nearest, for 0 <= v <= 255*255.
func div255(v int) int {
	v += 128
	return (v>>8 + v) >> 8
}

// Background is the colour under transparent pixels, RGB. The zero value is black.
type Background [3]byte

// NewBackground returns a colour as a background; nil is white.
func NewBackground(c color.Color) Background {
	if c == nil {
		return Background{255, 255, 255}
	}
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return Background{n.R, n.G, n.B}
}

// blend writes straight-alpha colour rgb over the background into dst.
func (bg Background) blend(dst, rgb []byte, alpha byte) {
	a := int(alpha)
	for i := range 3 {
		dst[i] = byte(div255(int(rgb[i])*a + int(bg[i])*(255-a)))
	}
}

// toPicture converts what Go's decoders return for a format. 16-bit values keep
// their high byte; transparent pixels are composited on the background.
func (d Decoder) toPicture(img image.Image, format string) (Picture, error) {
	m, bg, b := d.Memory, d.Background, img.Bounds()
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
	return Picture{}, fmt.Errorf("pixels of type %T are not supported", img)
}

// copyRows fills p from rows of pixels that are step bytes apart; for 16-bit
// values (big endian) every other byte is taken.
func copyRows(p Picture, pix []byte, stride, step int) {
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
func fromPremultiplied(m *Memory, w, h int, pix []byte, stride int, bg Background) Picture {
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
func fromStraight(m *Memory, w, h int, pix []byte, stride, step int, bg Background) Picture {
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

func fromPalette(m *Memory, img *image.Paletted, bg Background) Picture {
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
func (bg Background) under(p Picture, alpha []byte, stride int) {
	for y := range p.h {
		dst, alpha := p.row(y), alpha[y*stride:]
		for x := range p.w {
			if a := alpha[x]; a != 255 {
				bg.blend(dst[3*x:3*x+3], dst[3*x:3*x+3], a)
			}
		}
	}
}
