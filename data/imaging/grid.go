package imaging

import (
	"image"
	"image/color"
	"image/draw"
)

// gridGap is the width, in pixels, of the gap between the images of a grid, and around them.
const gridGap = 2

// Grid arranges images [N, size, size, 3] on a background, left to right and top to
// bottom, in at most the given number of columns. Fewer images give fewer columns.
func Grid(pixels []byte, size, columns int, background color.Color) *image.NRGBA {
	if size < 1 || columns < 1 {
		return image.NewNRGBA(image.Rectangle{})
	}
	each := size * size * 3
	n := len(pixels) / each
	columns = max(min(columns, n), 1)
	rows := (n + columns - 1) / columns
	step := size + gridGap
	grid := image.NewNRGBA(image.Rect(0, 0, columns*step+gridGap, rows*step+gridGap))
	draw.Draw(grid, grid.Rect, image.NewUniform(background), image.Point{}, draw.Src)
	for i := range n {
		img := ToImage(pixels[i*each:(i+1)*each], size)
		at := image.Pt(gridGap+i%columns*step, gridGap+i/columns*step)
		draw.Draw(grid, img.Rect.Add(at), img, image.Point{}, draw.Src)
	}
	return grid
}

// ToImage converts pixels [size, size, 3] to an image.
func ToImage(pixels []byte, size int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, size, size))
	for i := range min(size*size, len(pixels)/3) {
		copy(m.Pix[4*i:4*i+3], pixels[3*i:3*i+3])
		m.Pix[4*i+3] = 255
	}
	return m
}
