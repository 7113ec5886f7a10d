package main

import (
	"fmt"
	"slices"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/inference"
)

// openOriginals reads the images that a flag names: n, spread evenly over the set, or all
// of them if n is 0 or there are no more.
func openOriginals(flag, path string, n int, c *checkpoint.Checkpoint) (*inference.Images, error) {
	options := c.Config.DataOptions()
	options.Classes = nil // any images
	options.ClassCond = false
	options.Limit = n
	options.CacheBytes = -1 // each is read once
	set, err := data.Open(path, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	defer set.Close()
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
