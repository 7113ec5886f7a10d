package imaging

import "image"

// Lossy WebP stores video-range YUV with halved colour planes. golang.org/x/image
// hands the planes out under a type that means JPEG's full range, so the
// conversion is done here, as libwebp does it: smoothed planes, then its
// fixed-point matrix.

// fromWebP converts the planes of a lossy WebP picture to RGB.
func fromWebP(m *Memory, img *image.YCbCr) Picture {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	p := newPicture(m, w, h, 3)
	rows := (h + 1) / 2
	u, v := make([]byte, w), make([]byte, w)
	for y := range h {
		near := (y / 2) * img.CStride
		far := min(max(neighbour(y), 0), rows-1) * img.CStride
		webpChroma(u, img.Cb[near:], img.Cb[far:])
		webpChroma(v, img.Cr[near:], img.Cr[far:])
		webpRow(p.row(y), img.Y[y*img.YStride:y*img.YStride+w], u, v)
	}
	return p
}

// webpChroma doubles a row of a colour plane; far is the plane's second nearest row.
func webpChroma(dst, near, far []byte) {
	for x := range dst {
		at := x / 2
		beside := at - 1 + 2*(x%2)
		n, f := int(near[at]), int(far[at])
		if beside < 0 || beside > (len(dst)-1)/2 {
			dst[x] = byte((3*n + f + 2) >> 2)
			continue
		}
		diagonal := (n + 3*int(near[beside]) + 3*f + int(far[beside]) + 8) >> 3
		dst[x] = byte((n + diagonal) >> 1)
	}
}

func webpRow(dst, luma, us, vs []byte) {
	us, vs = us[:len(luma)], vs[:len(luma)]
	for x, l := range luma {
		y, u, v := int32(l)*19077>>8, int32(us[x]), int32(vs[x])
		out := dst[3*x : 3*x+3 : 3*x+3]
		out[0] = byte(clamp((y + v*26149>>8 - 14234) >> 6))
		out[1] = byte(clamp((y - u*6419>>8 - v*13320>>8 + 8708) >> 6))
		out[2] = byte(clamp((y + u*33050>>8 - 17685) >> 6))
	}
}
