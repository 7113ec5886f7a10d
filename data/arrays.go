package data

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"iddpm/data/imaging"
)

// arrays is a source of raw images of one size, stored in one or several parts
// of memory or of files. Images are read one at a time.
type arrays struct {
	w, h, c int
	planar  bool // [c, h, w] rather than [h, w, c]
	ends         // of parts
	parts   []part
	closers []io.Closer
}

// part is a run of images, stride bytes apart from offset on.
type part struct {
	n              int
	r              io.ReaderAt
	offset, stride int64
}

// nhwc returns the images uint8 [N, H, W, C] that begin at an offset of r.
func nhwc(shape []int64, r io.ReaderAt, offset int64) (*arrays, error) {
	if len(shape) != 4 || !slices.Contains([]int64{1, 3, 4}, shape[3]) {
		return nil, fmt.Errorf("shape %v is not uint8 [N, H, W, C] with 1, 3 or 4 channels", shape)
	}
	for _, n := range shape {
		if n < 1 || n > imaging.MaxPixels {
			return nil, fmt.Errorf("shape %v is empty or absurd", shape)
		}
	}
	n, h, w, c := shape[0], shape[1], shape[2], shape[3]
	if w > imaging.MaxPixels/h {
		return nil, fmt.Errorf("images of %d x %d pixels are too large", w, h)
	}
	a := &arrays{w: int(w), h: int(h), c: int(c)}
	a.add(part{n: int(n), r: r, offset: offset, stride: h * w * c})
	return a, nil
}

// add appends n images.
func (a *arrays) add(p part) {
	a.ends.add(p.n)
	a.parts = append(a.parts, p)
}

// name numbers the images as NVlabs/edm names them; there is no other name.
func (a *arrays) name(i int) string { return fmt.Sprintf("img%08d", i) }

// check always succeeds: opening the source checks that all pixels are present.
func (a *arrays) check(int) error { return nil }

func (a *arrays) load(i int, d imaging.Decoder) (imaging.Image, error) {
	k, i := a.find(i)
	p := a.parts[k]
	pix := d.Memory.Take(a.w * a.h * a.c)
	if _, err := p.r.ReadAt(pix, p.offset+int64(i)*p.stride); err != nil {
		return imaging.Image{}, cause(imaging.EndsEarly(err))
	}
	if a.planar {
		pix = interleave(d.Memory.Take(len(pix)), pix, a.c)
	}
	return d.FromPixels(a.w, a.h, a.c, pix)
}

// interleave turns [c, h, w] into [h, w, c] in out.
func interleave(out, planes []byte, c int) []byte {
	n := len(planes) / c
	for k := range c {
		for i, v := range planes[k*n : (k+1)*n] {
			out[i*c+k] = v
		}
	}
	return out
}

func (a *arrays) Close() error {
	var err error
	for _, c := range a.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}
