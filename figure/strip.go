package figure

import (
	"errors"
	"image"
	"image/color"
	"math"
	"path/filepath"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Strip is a figure of images in rows and columns.
type Strip struct {
	Caption string
	Rows    []string // labels
	Columns []string // labels
	XLabel  string
	Cells   [][]image.Image // [row][column], squares of one size
	Data    Table
}

// Save writes the strip as PNG, SVG and CSV, under the names of [Paths].
func (s Strip) Save(path string) ([]string, error) {
	if len(s.Cells) == 0 || len(s.Cells[0]) == 0 {
		return nil, errors.New(filepath.Base(path) + ": there is nothing to draw")
	}
	cell := s.cellSize()
	return write(path, s.Data, drawing{
		caption: s.Caption,
		width:   rowLabels + vg.Length(len(s.Columns))*(cell+cellGap),
		height:  columnLabels + vg.Length(len(s.Rows))*(cell+cellGap),
		draw:    s.draw,
	})
}

// The places around a strip's images.
const (
	rowLabels    = 1.9 * vg.Centimeter
	columnLabels = 1.2 * vg.Centimeter
	cellGap      = 0.1 * vg.Centimeter
)

// cellSize is the side of an image, limited so that few columns are not upscaled too much.
func (s Strip) cellSize() vg.Length { return min(2.4, 24/vg.Length(len(s.Columns))) * vg.Centimeter }

func (s Strip) draw(c draw.Canvas) {
	cell := s.cellSize()
	label := textStyle(11)
	for i, row := range s.Cells {
		top := c.Max.Y - vg.Length(i)*(cell+cellGap)
		label.XAlign, label.YAlign = draw.XLeft, draw.YCenter
		c.FillText(label, vg.Point{X: c.Min.X, Y: top - cell/2}, s.Rows[i])
		for k, img := range row {
			left := c.Min.X + rowLabels + vg.Length(k)*(cell+cellGap)
			place := vg.Rectangle{Min: vg.Point{X: left, Y: top - cell}, Max: vg.Point{X: left + cell, Y: top}}
			c.DrawImage(place, upscaled(img, cell))
		}
	}
	label.XAlign, label.YAlign = draw.XCenter, draw.YTop
	below := c.Max.Y - vg.Length(len(s.Rows))*(cell+cellGap)
	for k, text := range s.Columns {
		c.FillText(label, vg.Point{X: c.Min.X + rowLabels + vg.Length(k)*(cell+cellGap) + cell/2, Y: below}, text)
	}
	c.FillText(label, vg.Point{X: (c.Min.X + rowLabels + c.Max.X) / 2, Y: below - vg.Points(15)}, s.XLabel)
}

// upscaled repeats pixels up to the PNG's resolution, so that no viewer blurs them.
func upscaled(img image.Image, side vg.Length) image.Image {
	size := img.Bounds().Dx()
	factor := max(1, int(math.Round(side.Dots(dotsPerInch)/float64(size))))
	large := image.NewNRGBA(image.Rect(0, 0, size*factor, size*factor))
	for y := range size * factor {
		for x := range size * factor {
			large.Set(x, y, color.NRGBAModel.Convert(img.At(x/factor, y/factor)))
		}
	}
	return large
}
