package main

import (
	"bytes"
	"image"
	"image/png"
	"math"

	"github.com/google/renameio/v2"
	"github.com/wangkuiyi/gotorch/npy"
)

// pictures are square pictures of one size: drawn, or given to a command.
type pictures struct {
	size    int     // pixels a side
	pixels  []byte  // [N, size, size, 3]
	labels  []int64 // [N], or none
	columns int     // of the grid; 0: about as many as rows, and not all pictures
}

func (p *pictures) bytesPerPicture() int { return 3 * p.size * p.size }

func (p *pictures) len() int { return len(p.pixels) / p.bytesPerPicture() }

func (p *pictures) add(pixels []byte, labels []int64) {
	p.pixels = append(p.pixels, pixels...)
	p.labels = append(p.labels, labels...)
}

// saveArrays writes the pictures and their classes as the reference does, whole or
// not at all.
func (p *pictures) saveArrays(path string) error {
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

// saveGrid writes the first pictures as a PNG, whole or not at all.
func (p *pictures) saveGrid(path string) error {
	var buffer bytes.Buffer
	if err := png.Encode(&buffer, p.grid()); err != nil {
		return err
	}
	return cannotWrite(path, renameio.WriteFile(path, buffer.Bytes(), 0o666))
}

// The grid shows the first pictures, with a gap between them.
const (
	maxInGrid = 100
	gap       = 2
)

// grid lays the pictures out in rows.
func (p *pictures) grid() *image.NRGBA {
	n, columns := p.len(), p.columns
	if columns == 0 {
		n = min(n, maxInGrid)
		columns = int(math.Ceil(math.Sqrt(float64(n))))
	}
	rows := (n + columns - 1) / columns
	step := p.size + gap
	img := image.NewNRGBA(image.Rect(0, 0, columns*step+gap, rows*step+gap))
	for i := range img.Pix {
		img.Pix[i] = 0xff
	}
	for i := range n {
		p.paint(img, i, gap+i%columns*step, gap+i/columns*step)
	}
	return img
}

// paint copies picture i to a place of an image.
func (p *pictures) paint(img *image.NRGBA, i, x, y int) {
	from := p.pixels[i*p.bytesPerPicture():]
	for row := range p.size {
		at := img.PixOffset(x, y+row)
		for range p.size {
			copy(img.Pix[at:at+3], from[:3])
			from, at = from[3:], at+4
		}
	}
}
