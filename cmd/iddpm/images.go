package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"

	"github.com/google/renameio/v2"
	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/data/imaging"
)

// images are square images of one size: drawn, or given to a command.
type images struct {
	size    int     // pixels a side
	pixels  []byte  // [N, size, size, 3]
	labels  []int64 // [N], or none
	columns int     // of the grid; 0: about as many as rows, and not all images
}

func (p *images) bytesPerImage() int { return 3 * p.size * p.size }

func (p *images) len() int { return len(p.pixels) / p.bytesPerImage() }

func (p *images) add(pixels []byte, labels []int64) {
	p.pixels = append(p.pixels, pixels...)
	p.labels = append(p.labels, labels...)
}

// saveArrays writes the images and their classes as the reference does, whole or
// not at all.
func (p *images) saveArrays(path string) error {
	size := int64(p.size)
	arrays := []npy.Named{{Array: &npy.Array{DType: npy.Uint8, Shape: []int64{int64(p.len()), size, size, 3}, Data: p.pixels}}}
	if len(p.labels) > 0 {
		labels, err := npy.New(p.labels)
		if err != nil {
			return err
		}
		arrays = append(arrays, npy.Named{Array: labels})
	}
	return cannotWrite(path, npy.WriteNPZFile(path, arrays...))
}

// saveGrid writes the first images as a PNG, whole or not at all.
func (p *images) saveGrid(path string) error {
	var buffer bytes.Buffer
	if err := png.Encode(&buffer, p.grid()); err != nil {
		return err
	}
	return cannotWrite(path, renameio.WriteFile(path, buffer.Bytes(), 0o666))
}

// maxInGrid is how many images a grid shows that has no number of columns.
const maxInGrid = 100

// grid lays the images out in rows.
func (p *images) grid() *image.NRGBA {
	n, columns := p.len(), p.columns
	if columns == 0 {
		n = min(n, maxInGrid)
		columns = int(math.Ceil(math.Sqrt(float64(n))))
	}
	return imaging.Grid(p.pixels[:n*p.bytesPerImage()], p.size, columns, color.White)
}
