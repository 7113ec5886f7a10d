package data

import (
	"bufio"
	"context"
	"image"
	"slices"

	"iddpm/data/imaging"
)

// CommonSize returns the most frequent image size in pixels (of equally frequent ones
// the first), and the names of the images of other sizes. It reads only headers, and
// ignores images with an unreadable header.
func (d *Dataset) CommonSize(ctx context.Context) (common SizeCount, others []string, err error) {
	sizes := make([]image.Point, d.Len())
	err = parallel(ctx, len(sizes), func(i int) error {
		sizes[i] = d.headerSize(i)
		return nil
	})
	if err != nil {
		return SizeCount{}, nil, err
	}
	counts := map[image.Point]int{}
	for _, size := range sizes {
		counts[size]++
	}
	delete(counts, image.Point{})
	var best image.Point
	for _, size := range sizes {
		if counts[size] > counts[best] {
			best = size
		}
	}
	for i, size := range sizes {
		if size != best && size != (image.Point{}) {
			others = append(others, d.ImageName(i))
		}
	}
	slices.Sort(others)
	return SizeCount{Width: best.X, Height: best.Y, Count: counts[best]}, others, nil
}

// headerSize returns an image's size from its header or, failing that, from its decoded
// pixels; it is zero if neither can be read.
func (d *Dataset) headerSize(i int) image.Point {
	if f, ok := d.source.(encoded); ok {
		r, err := f.reader(d.at(i))
		if err != nil {
			return image.Point{}
		}
		defer r.Close()
		if size, err := imaging.HeaderSize(bufio.NewReader(r)); err == nil {
			return size
		}
	}
	w, h, err := d.SizeOf(i)
	if err != nil {
		return image.Point{}
	}
	return image.Pt(w, h)
}
