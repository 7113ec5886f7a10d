package main

import (
	"errors"
	"fmt"
	"slices"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/inference"
	"iddpm/internal/cli"
)

// openBase reads the low-resolution images of --base-samples; nil for a network without
// super-resolution.
func openBase(path string, c *checkpoint.Checkpoint, classes []int64) (*inference.Images, error) {
	m := c.Config.Model
	switch {
	case path == "" && !m.SuperRes():
		return nil, nil
	case path == "":
		return nil, cli.Errorf("%s upsamples images of %d pixels: name some by --base-samples", c.Path, m.SmallSize)
	case !m.SuperRes():
		return nil, cli.Errorf("--base-samples: %s is no super-resolution network", c.Path)
	}
	read := readBaseSet
	if cli.IsNPZ(path) {
		read = readBaseArrays
	}
	base, err := read(path, c, len(classes) > 0)
	if err != nil {
		return nil, fmt.Errorf("--base-samples: %w", err)
	}
	return base, nil
}

// readBaseArrays reads the file that sample writes: arr_0, uint8 [N, H, W, 3], and arr_1,
// the labels [N], unless hasClasses says that they are known.
func readBaseArrays(path string, c *checkpoint.Checkpoint, hasClasses bool) (*inference.Images, error) {
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		return nil, err
	}
	m := c.Config.Model
	size := int64(m.SmallSize)
	a := arrays["arr_0"]
	if a == nil || a.DType != npy.Uint8 || len(a.Shape) != 4 || a.Shape[0] < 1 || !slices.Equal(a.Shape[1:], []int64{size, size, 3}) {
		return nil, fmt.Errorf("%s: arr_0 must be uint8 [N, %d, %d, 3], images of the size that %s upsamples", path, size, size, c.Path)
	}
	base := &inference.Images{Size: m.SmallSize, Pixels: a.Data}
	if !m.ClassCond || hasClasses {
		return base, nil
	}
	b := arrays["arr_1"]
	if b == nil {
		return nil, fmt.Errorf("%s has no classes (arr_1), but the network is class-conditional: name the classes by --class", path)
	}
	if base.Labels, err = b.Int64s(); err != nil {
		return nil, fmt.Errorf("%s: arr_1: %w", path, err)
	}
	if len(base.Labels) != base.Len() {
		return nil, fmt.Errorf("%s: arr_1 holds %d classes for %d images", path, len(base.Labels), base.Len())
	}
	for i, label := range base.Labels {
		if label < 0 || label >= int64(m.NumClasses) {
			return nil, fmt.Errorf("%s: image %d is of class %d, but the classes of the network are 0 to %d", path, i, label, m.NumClasses-1)
		}
	}
	return base, nil
}

// readBaseSet reads a folder or a zip; larger images are resized and cropped as in
// training. Labels are read unless hasClasses says that they are known.
func readBaseSet(path string, c *checkpoint.Checkpoint, hasClasses bool) (*inference.Images, error) {
	options := c.Config.DataOptions()
	options.Classes = nil // any images
	options.ImageSize = c.Config.Model.SmallSize
	options.ClassCond = c.Config.Model.ClassCond && !hasClasses
	options.MaxBadImages = 0 // it would be replaced by another image
	options.CacheBytes = -1  // each is read once
	options.KnownClasses = c.ClassNames
	set, err := data.Open(path, options)
	if e := (*data.UnknownClassError)(nil); errors.As(err, &e) {
		err = fmt.Errorf("%w: name the classes of the images by --class", err)
	}
	if err != nil {
		return nil, err
	}
	defer set.Close()
	if found, known := set.NumClasses(), c.Config.Model.NumClasses; c.Bare && options.ClassCond && found != known {
		return nil, fmt.Errorf("%s has %d classes, but the network has %d without names: name the classes of the images by --class", set.Name(), found, known)
	}
	base := &inference.Images{Size: set.ImageSize()}
	for i := range set.Len() {
		pixels, label, err := set.Image(i)
		if err != nil {
			return nil, err
		}
		base.Append(pixels, nil)
		if options.ClassCond {
			base.Labels = append(base.Labels, label)
		}
	}
	return base, nil
}

// checkSuperRes refuses flags that a super-resolution network does not support.
func checkSuperRes(c *urfave.Context) error {
	for _, name := range []string{"invert", "start", "inpaint", "interpolate", "upsample", "first-sample"} {
		if c.IsSet(name) {
			return cli.Errorf("--%s is not for super-resolution networks", name)
		}
	}
	return nil
}
