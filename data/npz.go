package data

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch/npy"
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
	if a.DType != npy.Uint8 {
		return nil, fmt.Errorf("arr_0: %v %v is not uint8 [N, H, W, C]", a.DType, a.Shape)
	}
	s, err := nhwc(a.Shape, bytes.NewReader(a.Data), 0)
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
