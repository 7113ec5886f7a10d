package inference

import (
	"bytes"
	"image/color"
	"image/png"
	"math"

	"iddpm/data/imaging"
)

// maxInGrid is the largest number of images in a grid without a number of columns.
const maxInGrid = 100

// GridPNG returns the bytes of a PNG file that shows the images as a grid, row by row. With columns 0
// the grid is about as wide as high, and has at most the first 100 images.
func (p *Images) GridPNG(columns int) ([]byte, error) {
	n := p.Len()
	if columns == 0 {
		n = min(n, maxInGrid)
		columns = int(math.Ceil(math.Sqrt(float64(n))))
	}
	grid := imaging.Grid(p.Pixels[:n*p.BytesPerImage()], p.Size, columns, color.White)
	var file bytes.Buffer
	err := png.Encode(&file, grid)
	return file.Bytes(), err
}
