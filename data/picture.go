package data

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
