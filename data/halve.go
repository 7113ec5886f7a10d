package data

// halve is resample with the box filter to half the width and height, rounded
// down, as the reference does before its bicubic step.
func halve(p picture) picture {
	w, h := p.w/2, p.h/2
	if p.w%2 != 0 || p.h%2 != 0 {
		return resample(p, boxFilter, w, h, rect{w: w, h: h})
	}
	out := newPicture(p.memory, w, h, p.c)
	for y := range h {
		halveRows(out.row(y), p.row(2*y), p.row(2*y+1), p.c)
	}
	return out
}

// halveRows averages 2x2 blocks: with two taps of one half each, Pillow's
// fixed-point sum is (a+b+1)>>1, in either direction.
func halveRows(dst, top, bottom []byte, c int) {
	for x := 0; x < len(dst); x += c {
		a, b := top[2*x:2*x+2*c], bottom[2*x:2*x+2*c]
		for k := range c {
			t := (int(a[k]) + int(a[k+c]) + 1) >> 1
			u := (int(b[k]) + int(b[k+c]) + 1) >> 1
			dst[x+k] = byte((t + u + 1) >> 1)
		}
	}
}

// nearest scales p to w x h by the nearest pixel and returns the part crop: what
// Pillow does with palette and bilevel pictures whatever filter is asked for.
func nearest(p picture, w, h int, crop rect) picture {
	columns := nearestPositions(p.w, w)[crop.x : crop.x+crop.w]
	rows := nearestPositions(p.h, h)[crop.y : crop.y+crop.h]
	out := newPicture(p.memory, crop.w, crop.h, p.c)
	for i, y := range rows {
		src, dst := p.row(y), out.row(i)
		for j, x := range columns {
			copy(dst[j*p.c:(j+1)*p.c], src[x*p.c:])
		}
	}
	return out
}

// nearestPositions steps by addition, as Pillow does: the rounding errors that
// gather are part of the result.
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
