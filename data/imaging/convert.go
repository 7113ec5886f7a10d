package imaging

import (
	"cmp"
	"encoding/binary"
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

// NewBackground converts a colour to a background; nil is white.
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

// toImage converts the output of Go's decoders. 16-bit values are truncated to
// their high byte; transparent pixels are composited on the background.
func (d Decoder) toImage(img image.Image, format string) (Image, error) {
	m, bg, b := d.Memory, d.Background, img.Bounds()
	w, h := b.Dx(), b.Dy()
	switch img := img.(type) {
	case *image.Gray:
		p := newImage(m, w, h, 1)
		copyRows(p, img.Pix, img.Stride, 1)
		return p, nil
	case *image.Gray16:
		p := newImage(m, w, h, 1)
		copyRows(p, img.Pix, img.Stride, 2)
		p.warning = darkWarning(largest16(img.Pix, img.Stride, w, h, 1, 1))
		return p, nil
	case *image.RGBA:
		return fromPremultiplied(m, w, h, img.Pix, img.Stride, bg), nil
	case *image.NRGBA:
		return fromStraight(m, w, h, img.Pix, img.Stride, 4, bg), nil
	case *image.RGBA64:
		// The decoders use RGBA64 only for opaque images.
		p := newImage(m, w, h, 3)
		copyRows(p, img.Pix, img.Stride, 8)
		p.warning = darkWarning(largest16(img.Pix, img.Stride, w, h, 4, 3))
		return p, nil
	case *image.NRGBA64:
		p := fromStraight(m, w, h, img.Pix, img.Stride, 8, bg)
		p.warning = cmp.Or(p.warning, darkWarning(largest16(img.Pix, img.Stride, w, h, 4, 3)))
		return p, nil
	case *image.Paletted:
		return fromPalette(m, img, bg), nil
	case *image.CMYK:
		p := newImage(m, w, h, 4)
		copyRows(p, img.Pix, img.Stride, 4)
		return p, nil
	case *image.YCbCr:
		if format == "webp" {
			return fromWebP(m, img), nil
		}
		return fromYCbCr(m, img), nil
	case *image.NYCbCrA:
		// Only WebP has such images.
		p := fromWebP(m, &img.YCbCr)
		bg.under(&p, img.A, img.AStride)
		return p, nil
	}
	return Image{}, fmt.Errorf("pixels of type %T are not supported", img)
}

// largest16 returns the largest value of the first few 16-bit channels (big endian) of
// each pixel.
func largest16(pix []byte, stride, w, h, channels, few int) (largest uint16) {
	for y := range h {
		row := pix[y*stride : y*stride+2*channels*w]
		for at := 0; at < len(row); at += 2 * channels {
			for k := range few {
				largest = max(largest, binary.BigEndian.Uint16(row[at+2*k:]))
			}
		}
	}
	return largest
}

// copyRows fills p from rows of pixels that are step bytes apart; of 16-bit
// values (big endian) it copies the high byte.
func copyRows(p Image, pix []byte, stride, step int) {
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

// fromPremultiplied converts RGBA, which Go's decoders use for opaque images.
func fromPremultiplied(m *Memory, w, h int, pix []byte, stride int, bg Background) Image {
	p := newImage(m, w, h, 3)
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
func fromStraight(m *Memory, w, h int, pix []byte, stride, step int, bg Background) Image {
	p := newImage(m, w, h, 3)
	wide := step / 4
	var seen byte
	for y := range h {
		dst, src := p.row(y), pix[y*stride:]
		for x := range w {
			in, out := src[step*x:step*x+step], dst[3*x:3*x+3:3*x+3]
			out[0], out[1], out[2] = in[0], in[wide], in[2*wide]
			seen |= in[3*wide]
			if a := in[3*wide]; a != 255 {
				bg.blend(out, out, a)
			}
		}
	}
	p.warnIfInvisible(seen)
	return p
}

// warnIfInvisible sets the Transparent warning if seen, the bitwise OR of all alpha
// values, is 0.
func (p *Image) warnIfInvisible(seen byte) {
	if seen == 0 {
		p.warning = Transparent
	}
}

func fromPalette(m *Memory, img *image.Paletted, bg Background) Image {
	colours := newColourTable()
	for i, c := range img.Palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		colours.set(bg, i, []byte{n.R, n.G, n.B}, n.A)
	}
	return colours.img(m, img.Rect.Dx(), img.Rect.Dy(), img.Pix, img.Stride)
}

// colourTable is a palette over a background. An index beyond it is black.
type colourTable struct {
	rgb   [256][3]byte
	alpha [256]byte
}

func newColourTable() *colourTable {
	c := &colourTable{}
	for i := range c.alpha {
		c.alpha[i] = 255
	}
	return c
}

func (c *colourTable) set(bg Background, i int, rgb []byte, alpha byte) {
	bg.blend(c.rgb[i][:], rgb, alpha)
	c.alpha[i] = alpha
}

// image returns the image of w x h indices.
func (c *colourTable) img(m *Memory, w, h int, indices []byte, stride int) Image {
	p := newImage(m, w, h, 3)
	p.palette = true
	var seen byte
	for y := range h {
		dst := p.row(y)
		for x, index := range indices[y*stride : y*stride+w] {
			copy(dst[3*x:3*x+3], c.rgb[index][:])
			seen |= c.alpha[index]
		}
	}
	p.warnIfInvisible(seen)
	return p
}

// under composites p on the background, given p's alpha plane.
func (bg Background) under(p *Image, alpha []byte, stride int) {
	var seen byte
	for y := range p.h {
		dst, alpha := p.row(y), alpha[y*stride:]
		for x := range p.w {
			seen |= alpha[x]
			if a := alpha[x]; a != 255 {
				bg.blend(dst[3*x:3*x+3], dst[3*x:3*x+3], a)
			}
		}
	}
	p.warnIfInvisible(seen)
}
