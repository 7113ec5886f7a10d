package data

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"iddpm/data/imaging"
)

// arrays is a source of raw images of one size, stored in one or several parts
// of memory or of files. Images are read one at a time.
type arrays struct {
	w, h, c int
	planar  bool // [c, h, w] rather than [h, w, c]
	parts   []part
	closers []io.Closer
}

// part is a run of images, stride bytes apart from offset on.
type part struct {
	first, n       int
	r              io.ReaderAt
	offset, stride int64
}

// add appends n images.
func (a *arrays) add(p part) {
	p.first = a.count()
	a.parts = append(a.parts, p)
}

func (a *arrays) count() int {
	if len(a.parts) == 0 {
		return 0
	}
	last := a.parts[len(a.parts)-1]
	return last.first + last.n
}

// name numbers the images as NVlabs/edm names them; there is no other name.
func (a *arrays) name(i int) string { return fmt.Sprintf("img%08d", i) }

// check always succeeds: opening the source checks that all pixels are present.
func (a *arrays) check(int) error { return nil }

func (a *arrays) load(i int, d imaging.Decoder) (imaging.Image, error) {
	k := sort.Search(len(a.parts), func(k int) bool { return a.parts[k].first > i }) - 1
	p := a.parts[k]
	pix := d.Memory.Take(a.w * a.h * a.c)
	if _, err := p.r.ReadAt(pix, p.offset+int64(i-p.first)*p.stride); err != nil {
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
