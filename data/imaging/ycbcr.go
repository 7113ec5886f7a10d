package imaging

import "image"

// Go's image/jpeg returns the colour planes as stored. libjpeg, which the reference
// uses, upsamples halved colour planes with a triangle filter ("fancy upsampling").
// The same is done here, with libjpeg's rounding.

// fromYCbCr converts planes of any subsampling to RGB.
func fromYCbCr(m *Memory, img *image.YCbCr) Image {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	p := newImage(m, w, h, 3)
	up := newUpsampler(img)
	cb, cr := make([]byte, up.width()), make([]byte, up.width())
	for y := range h {
		up.row(cb, img.Cb, y)
		up.row(cr, img.Cr, y)
		ycbcrRow(p.row(y), img.Y[y*img.YStride:y*img.YStride+w], cb, cr)
	}
	return p
}

// Fixed-point factors of the JFIF conversion, 16 bits of fraction.
const (
	crToR = 91881  // 1.40200
	cbToB = 116130 // 1.77200
	crToG = 46802  // 0.71414
	cbToG = 22554  // 0.34414
	round = 1 << 15
)

func ycbcrRow(dst, luma, cb, cr []byte) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, l := range luma {
		y, b, r := int32(l), int32(cb[x])-128, int32(cr[x])-128
		red := y + (crToR*r+round)>>16
		green := y + (-cbToG*b-crToG*r+round)>>16
		blue := y + (cbToB*b+round)>>16
		if uint32(red|green|blue) > 255 { // one test for all three
			red, green, blue = clamp(red), clamp(green), clamp(blue)
		}
		out := dst[3*x : 3*x+3 : 3*x+3]
		out[0], out[1], out[2] = byte(red), byte(green), byte(blue)
	}
}

func clamp(v int32) int32 { return min(max(v, 0), 255) }

// upsampler upsamples rows of a colour plane to the width of the image.
type upsampler struct {
	stride int
	w, h   int // of the plane that holds the image, without padding
	dx, dy int // how many luma samples a colour sample covers
	sums   []int32
}

func newUpsampler(m *image.YCbCr) *upsampler {
	u := &upsampler{stride: m.CStride, dx: 1, dy: 1}
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		u.dx = 2
	case image.YCbCrSubsampleRatio420:
		u.dx, u.dy = 2, 2
	case image.YCbCrSubsampleRatio440:
		u.dy = 2
	case image.YCbCrSubsampleRatio411:
		u.dx = 4
	case image.YCbCrSubsampleRatio410:
		u.dx, u.dy = 4, 2
	}
	u.w = (m.Rect.Dx() + u.dx - 1) / u.dx
	u.h = (m.Rect.Dy() + u.dy - 1) / u.dy
	u.sums = make([]int32, u.w)
	return u
}

// width is the length of the rows that row writes: at least the image's width.
func (u *upsampler) width() int { return u.w * u.dx }

// row writes the colour samples of image row y.
func (u *upsampler) row(dst, plane []byte, y int) {
	near := u.line(plane, y/u.dy)
	switch {
	case u.dx == 1 && u.dy == 1:
		copy(dst, near)
	case u.dx == 1 && u.dy == 2:
		blendRows(dst, near, u.line(plane, neighbour(y)), int32(1+y%2))
	case u.dx == 2 && u.w <= 2 || u.dx == 4:
		for i := range dst {
			dst[i] = near[i/u.dx]
		}
	case u.dy == 1:
		triangle2(dst, near)
	default:
		u.triangle4(dst, near, u.line(plane, neighbour(y)))
	}
}

// line returns row y of the plane, clamped to the plane.
func (u *upsampler) line(plane []byte, y int) []byte {
	y = min(max(y, 0), u.h-1)
	return plane[y*u.stride : y*u.stride+u.w]
}

// neighbour is the second nearest colour row to image row y if a colour row covers two
// rows: the row above for the upper of the two, the row below for the lower.
func neighbour(y int) int { return y/2 - 1 + 2*(y%2) }

func blendRows(dst, near, far []byte, bias int32) {
	for i := range dst {
		dst[i] = byte((3*int32(near[i]) + int32(far[i]) + bias) >> 2)
	}
}

// triangle2 doubles a row: three quarters of the nearer sample, one of the other.
func triangle2(dst, in []byte) {
	n := len(in)
	dst[0], dst[2*n-1] = in[0], in[n-1]
	out, a := dst[1:], int32(in[0])
	for _, v := range in[1:] {
		if len(out) < 2 {
			break // never happens; it eliminates the bounds checks below
		}
		b := int32(v)
		out[0], out[1] = byte((3*a+b+2)>>2), byte((3*b+a+1)>>2)
		out, a = out[2:], b
	}
}

// triangle4 doubles a row of a plane that is halved in both directions.
func (u *upsampler) triangle4(dst, near, far []byte) {
	n := u.w
	sums, near, far := u.sums[:n], near[:n], far[:n]
	for i := range sums {
		sums[i] = 3*int32(near[i]) + int32(far[i])
	}
	dst[0] = byte((4*sums[0] + 8) >> 4)
	dst[2*n-1] = byte((4*sums[n-1] + 7) >> 4)
	out, a := dst[1:], sums[0]
	for _, b := range sums[1:] {
		if len(out) < 2 {
			break
		}
		out[0], out[1] = byte((3*a+b+7)>>4), byte((3*b+a+8)>>4)
		out, a = out[2:], b
	}
}
