package main

import (
	"fmt"
	"slices"

	"iddpm/data"
	"iddpm/inference"
	"iddpm/internal/cli"
	"iddpm/train"
)

// openOriginals reads the images to invert: n, spread evenly over the set, or all
// of them if n is 0 or there are no more.
func openOriginals(path string, n int, c *train.Checkpoint, classes []int64) (*inference.Images, error) {
	options := c.Config.DataOptions()
	options.Classes = nil // any images
	options.ClassCond = false
	options.Limit = n
	options.CacheBytes = -1 // each is read once
	set, err := data.Open(path, options)
	if err != nil {
		return nil, fmt.Errorf("--invert: %w", err)
	}
	defer set.Close()
	if c.Config.Model.ClassCond && len(classes) == 0 {
		return nil, cli.Errorf("--invert: name the classes of the images by --class: one for all images, or one each")
	}
	o := &inference.Images{Size: c.Config.Model.ImageSize}
	o.Pixels, _, err = set.Images()
	return o, err
}

// invertedColumns is the number of columns of invertedSheet.
const invertedColumns = 3

// invertedSheet returns a row for each image: the original, its latent, and the reconstruction.
func invertedSheet(originals inference.Images, made inference.Inversion) inference.Images {
	noise := made.Latents.Images()
	all := inference.Images{Size: originals.Size}
	for i := range made.Reconstructed.Len() {
		all.Append(slices.Concat(originals.Image(i), noise.Image(i), made.Reconstructed.Image(i)), nil)
	}
	return all
}
