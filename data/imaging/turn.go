package imaging

// turned applies an EXIF orientation of 1..8 to p.
func (p Image) turned(orientation int) Image {
	if orientation < 2 || orientation > 8 {
		return p
	}
	w, h := p.w, p.h
	if orientation >= 5 {
		w, h = h, w
	}
	out := newImage(p.memory, w, h, p.c)
	out.palette, out.warning = p.palette, p.warning
	for y := range h {
		for x := range w {
			sx, sy := turnedFrom(orientation, x, y, p.w, p.h)
			copy(out.pix[(y*w+x)*p.c:(y*w+x+1)*p.c], p.pix[(sy*p.w+sx)*p.c:])
		}
	}
	return out
}

// turnedFrom returns the position in the stored w x h image of the pixel (x, y) of the
// turned image.
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
