package imaging

import "math"

// The resampling below is bit-identical to Pillow's: separable, the same order of
// passes, coefficients rounded to 22 bits, and an 8-bit intermediate image. Any other
// rounding changes grey levels, so the arithmetic keeps Pillow's order of operations
// even where a shorter formula exists.

// precisionBits is 32 bits minus 8 for the value and 2 for the overshoot of a filter
// with negative lobes.
const precisionBits = 32 - 8 - 2

// filter is a resampling kernel, zero outside [-support, support].
type filter struct {
	support float64
	weight  func(x float64) float64
}

var (
	boxFilter     = filter{support: 0.5, weight: boxWeight}
	bicubicFilter = filter{support: 2, weight: bicubicWeight}
)

func boxWeight(x float64) float64 {
	if x > -0.5 && x <= 0.5 {
		return 1
	}
	return 0
}

// bicubicWeight is Keys' cubic with a = -0.5. The conversions to float64 prevent the
// compiler from emitting fused multiply-adds, which round differently across
// processors.
func bicubicWeight(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return float64(float64(float64(float64((x-5)*x)+8)*x)-4) * a
	}
	return 0
}

// taps holds, for each output position of a range, the first input position
// that contributes to it and its fixed-point weights.
type taps struct {
	first  []int
	weight [][]int32
}

// newTaps returns the taps of the output positions [from, to) when in samples
// are resampled to out.
func newTaps(f filter, in, out, from, to int) taps {
	scale := float64(in) / float64(out)
	filterScale := max(scale, 1)
	support := f.support * filterScale
	size := int(math.Ceil(support))*2 + 1
	t := taps{first: make([]int, to-from), weight: make([][]int32, to-from)}
	fixed := make([]int32, size*(to-from))
	real := make([]float64, size)
	for i := range t.first {
		center := float64((float64(from+i) + 0.5) * scale)
		lo := max(int(center-support+0.5), 0)
		n := min(int(center+support+0.5), in) - lo
		weigh(real[:n], f, lo, center, 1/filterScale)
		t.first[i] = lo
		t.weight[i] = fixed[i*size : i*size+n]
		toFixed(t.weight[i], real[:n])
	}
	return t
}

// weigh fills k with the filter's values at the centers of the input positions from lo
// on, relative to center and scaled by step, normalised to a sum of one.
func weigh(k []float64, f filter, lo int, center, step float64) {
	sum := 0.0
	for j := range k {
		k[j] = f.weight(float64((float64(j+lo) - center + 0.5) * step))
		sum += k[j]
	}
	if sum == 0 {
		return
	}
	for j := range k {
		k[j] /= sum
	}
}

func toFixed(dst []int32, k []float64) {
	for j, w := range k {
		if w < 0 {
			dst[j] = int32(-0.5 + float64(w*(1<<precisionBits)))
		} else {
			dst[j] = int32(0.5 + float64(w*(1<<precisionBits)))
		}
	}
}

// last returns one past the highest input position that any tap reads.
func (t taps) last() int {
	n := len(t.first) - 1
	return t.first[n] + len(t.weight[n])
}

// clip8 rounds a fixed-point sum to a value of 0..255.
func clip8(sum int32) byte {
	return byte(min(max(sum>>precisionBits, 0), 255))
}

const half = int32(1) << (precisionBits - 1)

// rect is a part of an image, in pixels.
type rect struct{ x, y, w, h int }

// passOrder reports whether the vertical pass comes first when p is scaled to w x h.
type passOrder func(p Image, w, h int) bool

// verticalFirst is the order of Pillow 13: the vertical pass comes first if it removes
// more than twice as many rows as the horizontal pass removes columns. Before
// version 13 the horizontal pass came first.
func verticalFirst(p Image, w, h int) bool {
	return p.h > h && p.h-h > 2*(p.w-w)
}

// resample scales p to w x h with f and returns the part crop of the result;
// only the rows and columns that the crop needs are computed, except that a
// vertical pass that comes first computes all columns.
func resample(p Image, f filter, w, h int, crop rect, order passOrder) Image {
	if h == p.h {
		return resampleWidth(p.cropped(rect{y: crop.y, w: p.w, h: crop.h}), f, w, crop)
	}
	t := newTaps(f, p.h, h, crop.y, crop.y+crop.h)
	if order(p, w, h) {
		return resampleWidth(resampleColumns(p, t, 0), f, w, crop)
	}
	top := t.first[0]
	p = p.cropped(rect{y: top, w: p.w, h: t.last() - top})
	return resampleColumns(resampleWidth(p, f, w, crop), t, top)
}

// resampleWidth scales p's width to w and returns the columns of crop.
func resampleWidth(p Image, f filter, w int, crop rect) Image {
	if w == p.w {
		return p.cropped(rect{x: crop.x, w: crop.w, h: p.h})
	}
	return resampleRows(p, newTaps(f, p.w, w, crop.x, crop.x+crop.w))
}

// resampleRows is the horizontal pass.
func resampleRows(p Image, t taps) Image {
	out := newImage(p.memory, len(t.first), p.h, p.c)
	for y := range p.h {
		src, dst := p.row(y), out.row(y)
		switch p.c {
		case 1:
			row1(dst, src, t)
		case 3:
			row3(dst, src, t)
		default:
			row4(dst, src, t)
		}
	}
	return out
}

func row1(dst, src []byte, t taps) {
	for i, lo := range t.first {
		s := half
		k := t.weight[i]
		in := src[lo : lo+len(k)]
		for j, v := range in {
			s += int32(v) * k[j]
		}
		dst[i] = clip8(s)
	}
}

func row3(dst, src []byte, t taps) {
	for i, lo := range t.first {
		if k := t.weight[i]; len(k) == 2 {
			pixel2(dst[3*i:], src[3*lo:], k[0], k[1])
			continue
		}
		r, g, b := half, half, half
		in := src[3*lo:]
		for _, k := range t.weight[i] {
			px := in[:3:3]
			r += int32(px[0]) * k
			g += int32(px[1]) * k
			b += int32(px[2]) * k
			in = in[3:]
		}
		out := dst[3*i : 3*i+3 : 3*i+3]
		out[0], out[1], out[2] = clip8(r), clip8(g), clip8(b)
	}
}

// pixel2 applies two taps at once: nearly all taps of the box filter that halves an odd
// width are pairs.
func pixel2(dst, src []byte, k, l int32) {
	in, out := src[:6:6], dst[:3:3]
	out[0] = clip8(half + int32(in[0])*k + int32(in[3])*l)
	out[1] = clip8(half + int32(in[1])*k + int32(in[4])*l)
	out[2] = clip8(half + int32(in[2])*k + int32(in[5])*l)
}

func row4(dst, src []byte, t taps) {
	for i, lo := range t.first {
		a, b, c, d := half, half, half, half
		in := src[4*lo:]
		for _, k := range t.weight[i] {
			px := in[:4:4]
			a += int32(px[0]) * k
			b += int32(px[1]) * k
			c += int32(px[2]) * k
			d += int32(px[3]) * k
			in = in[4:]
		}
		out := dst[4*i : 4*i+4 : 4*i+4]
		out[0], out[1], out[2], out[3] = clip8(a), clip8(b), clip8(c), clip8(d)
	}
}

// resampleColumns is the vertical pass; p's first row is the row top of the
// image that the taps were made for.
func resampleColumns(p Image, t taps, top int) Image {
	out := newImage(p.memory, p.w, len(t.first), p.c)
	sums := make([]int32, p.w*p.c)
	for i, lo := range t.first {
		if k := t.weight[i]; len(k) == 2 {
			blend2(out.row(i), p.row(lo-top), p.row(lo-top+1), k[0], k[1])
			continue
		}
		for x := range sums {
			sums[x] = half
		}
		for j, k := range t.weight[i] {
			addScaled(sums, p.row(lo-top+j), k)
		}
		dst := out.row(i)
		for x, s := range sums {
			dst[x] = clip8(s)
		}
	}
	return out
}

// blend2 is the same for an odd height.
func blend2(dst, a, b []byte, k, l int32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for x := range dst {
		dst[x] = clip8(half + int32(a[x])*k + int32(b[x])*l)
	}
}

func addScaled(sums []int32, row []byte, k int32) {
	row = row[:len(sums)]
	for x := range sums {
		sums[x] += int32(row[x]) * k
	}
}
