package main

import (
	"github.com/google/renameio/v2"
	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/inference"
	"iddpm/internal/cli"
)

// saveArrays writes images and their classes as an .npz, atomically, with the reference's
// arrays: arr_0, uint8 [N, H, W, 3], and with classes arr_1, [N].
func saveArrays(path string, images inference.Images) error {
	size := int64(images.Size)
	arrays := []npy.Named{{Array: &npy.Array{DType: npy.Uint8, Shape: []int64{int64(images.Len()), size, size, 3}, Data: images.Pixels}}}
	if len(images.Labels) > 0 {
		labels, err := npy.New(images.Labels)
		if err != nil {
			return err
		}
		arrays = append(arrays, npy.Named{Array: labels})
	}
	return cli.WriteError(path, npy.WriteNPZFile(path, arrays...))
}

// saveGrid writes a grid of images as a PNG, atomically, see [inference.Images.GridPNG].
func saveGrid(path string, images inference.Images, columns int) error {
	file, err := images.GridPNG(columns)
	if err != nil {
		return err
	}
	return cli.WriteError(path, renameio.WriteFile(path, file, 0o666))
}
