package imaging

import "encoding/binary"

// halve is resample with the box filter to half the width and height, rounded
// down, as the reference does before its bicubic step. A side of even length is
// halved by averaging pairs: with two taps of one half each, Pillow's fixed-point
// sum is (a+b+1)>>1.
func halve(p Image, order passOrder) Image {
	switch {
	case order(p, p.w/2, p.h/2):
		return halveWidth(halveHeight(p))
	case p.w%2 == 0 && p.h%2 == 0:
		return halveBoth(p)
	}
	return halveHeight(halveWidth(p))
}

// halveBoth halves an even width and an even height, in this order. It works row by
// row, so that the intermediate rows stay in the L1 cache.
func halveBoth(p Image) Image {
	out := newImage(p.memory, p.w/2, p.h/2, p.c)
	top, bottom := p.memory.Take(out.w*p.c), p.memory.Take(out.w*p.c)
	for y := range out.h {
		halveRow(top, p.row(2*y), p.c)
		halveRow(bottom, p.row(2*y+1), p.c)
		averageRows(out.row(y), top, bottom)
	}
	return out
}

func halveWidth(p Image) Image {
	if w := p.w / 2; p.w%2 != 0 {
		return resampleRows(p, newTaps(boxFilter, p.w, w, 0, w))
	}
	out := newImage(p.memory, p.w/2, p.h, p.c)
	for y := range out.h {
		halveRow(out.row(y), p.row(y), p.c)
	}
	return out
}

func halveHeight(p Image) Image {
	if h := p.h / 2; p.h%2 != 0 {
		return resampleColumns(p, newTaps(boxFilter, p.h, h, 0, h), 0)
	}
	out := newImage(p.memory, p.w, p.h/2, p.c)
	for y := range out.h {
		averageRows(out.row(y), p.row(2*y), p.row(2*y+1))
	}
	return out
}

// average8 returns (a+b+1)>>1 of each of eight bytes.
func average8(a, b uint64) uint64 { return (a | b) - (a^b)>>1&0x7f7f7f7f7f7f7f7f }

// halveRow averages pairs of pixels of c channels.
func halveRow(dst, src []byte, c int) {
	if c == 3 {
		// Eight bytes contain both pixels. The four bytes written are one pixel and one
		// byte of the next, which is overwritten later.
		for len(src) >= 8 && len(dst) >= 4 {
			two := binary.LittleEndian.Uint64(src)
			binary.LittleEndian.PutUint32(dst, uint32(average8(two, two>>24)))
			src, dst = src[6:], dst[3:]
		}
	}
	for ; len(dst) > 0; src, dst = src[2*c:], dst[c:] {
		for k := range c {
			dst[k] = byte((int(src[k]) + int(src[k+c]) + 1) >> 1)
		}
	}
}

// averageRows averages the bytes of two rows.
func averageRows(dst, a, b []byte) {
	for len(dst) >= 8 && len(a) >= 8 && len(b) >= 8 {
		binary.LittleEndian.PutUint64(dst, average8(binary.LittleEndian.Uint64(a), binary.LittleEndian.Uint64(b)))
		dst, a, b = dst[8:], a[8:], b[8:]
	}
	for i := range dst {
		dst[i] = byte((int(a[i]) + int(b[i]) + 1) >> 1)
	}
}

// nearest scales p to w x h by nearest-neighbour interpolation and returns the part crop.
// Pillow uses it for palette and bilevel images whatever the filter.
func nearest(p Image, w, h int, crop rect) Image {
	columns := nearestPositions(p.w, w)[crop.x : crop.x+crop.w]
	rows := nearestPositions(p.h, h)[crop.y : crop.y+crop.h]
	out := newImage(p.memory, crop.w, crop.h, p.c)
	for i, y := range rows {
		src, dst := p.row(y), out.row(i)
		for j, x := range columns {
			copy(dst[j*p.c:(j+1)*p.c], src[x*p.c:])
		}
	}
	return out
}

// nearestPositions steps by repeated addition, as Pillow does: the accumulated rounding
// errors are part of the result.
func nearestPositions(in, out int) []int {
	at := make([]int, out)
	step := float64(in) / float64(out)
	x := float64(step * 0.5)
	for i := range at {
		at[i] = min(int(x), in-1)
		x += step
	}
	return at
}
