package data

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/data/imaging"
)

// openNPZ opens samples in the reference's format: arr_0, uint8 [N, H, W, C] with C of
// 1, 3 or 4, and optionally arr_1, the labels [N]. It is read into memory.
func openNPZ(path string) (*collection, error) {
	z, err := npy.OpenNPZ(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the images: %w", explained(err))
	}
	defer z.Close()
	c, err := readNPZ(z)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.title = "npz " + path
	return c, nil
}

func readNPZ(z *npy.NPZ) (*collection, error) {
	const images, labels = "arr_0", "arr_1"
	if !slices.Contains(z.Names(), images) {
		return nil, fmt.Errorf("no array arr_0 of images, only %q", z.Names())
	}
	a, err := z.Read(images)
	if err != nil {
		return nil, fmt.Errorf("arr_0: %w", err)
	}
	s, err := nhwc(a)
	if err != nil {
		return nil, fmt.Errorf("arr_0: %w", err)
	}
	c := &collection{source: s}
	if !slices.Contains(z.Names(), labels) {
		return c, nil
	}
	b, err := z.Read(labels)
	c.readOwn = func() (*ownLabels, error) { // arr_1 is checked only if labels are needed
		if err != nil {
			return nil, fmt.Errorf("arr_1: %w", err)
		}
		values, err := labelArray(b, s.count())
		if err != nil {
			return nil, fmt.Errorf("arr_1: %w", err)
		}
		return &ownLabels{labels: values, from: labels}, nil
	}
	return c, nil
}

// nhwc returns a source of an array uint8 [N, H, W, C].
func nhwc(a *npy.Array) (*arrays, error) {
	if a.DType != npy.Uint8 || len(a.Shape) != 4 || !slices.Contains([]int64{1, 3, 4}, a.Shape[3]) {
		return nil, fmt.Errorf("%v %v is not uint8 [N, H, W, C] with 1, 3 or 4 channels", a.DType, a.Shape)
	}
	for _, n := range a.Shape {
		if n < 1 || n > imaging.MaxPixels {
			return nil, fmt.Errorf("shape %v is empty or absurd", a.Shape)
		}
	}
	if a.Shape[1] > imaging.MaxPixels/a.Shape[2] {
		return nil, fmt.Errorf("images of %d x %d pixels are too large", a.Shape[2], a.Shape[1])
	}
	s := &arrays{h: int(a.Shape[1]), w: int(a.Shape[2]), c: int(a.Shape[3])}
	s.add(part{n: int(a.Shape[0]), r: bytes.NewReader(a.Data), stride: a.Shape[1] * a.Shape[2] * a.Shape[3]})
	return s, nil
}

// labelArray checks labels [N] of n images.
func labelArray(a *npy.Array, n int) ([]int64, error) {
	labels, err := a.Int64s()
	if err != nil {
		return nil, err
	}
	if len(a.Shape) != 1 || len(labels) != n {
		return nil, fmt.Errorf("%v %v are not the labels of %d images", a.DType, a.Shape, n)
	}
	for i, label := range labels {
		if err := checkLabel(label, nil); err != nil {
			return nil, fmt.Errorf("image %d: %w", i, err)
		}
	}
	return labels, nil
}
