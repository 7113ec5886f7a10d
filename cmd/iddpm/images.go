package main

import (
	"bytes"
	"image/color"
	"image/png"
	"math"

	"github.com/google/renameio/v2"
	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/data/imaging"
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

// maxInGrid is the largest number of images in a grid without a number of columns.
const maxInGrid = 100

// saveGrid writes a grid of images as a PNG, atomically. With columns 0 the grid is about as wide
// as high, and has the first maxInGrid images.
func saveGrid(path string, images inference.Images, columns int) error {
	n := images.Len()
	if columns == 0 {
		n = min(n, maxInGrid)
		columns = int(math.Ceil(math.Sqrt(float64(n))))
	}
	grid := imaging.Grid(images.Pixels[:n*images.BytesPerImage()], images.Size, columns, color.White)
	var file bytes.Buffer
	if err := png.Encode(&file, grid); err != nil {
		return err
	}
	return cli.WriteError(path, renameio.WriteFile(path, file.Bytes(), 0o666))
}
