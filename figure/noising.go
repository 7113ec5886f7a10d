package figure

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"iddpm/diffusion"
)

// Picture is a square picture of bytes.
type Picture struct {
	Name string
	Size int    // pixels a side
	RGB  []byte // [Size, Size, 3]
}

// NoisingOptions says what [Noising] draws. Zero values: 9 columns.
type NoisingOptions struct {
	Steps   int    // T
	Columns int    // evenly spaced steps from 0, the picture, to T
	Seed    uint64 // of the noise, which is the same in every picture
}

// Strip is a figure of pictures in rows and columns.
type Strip struct {
	Caption string
	Rows    []string // labels
	Columns []string // labels
	XLabel  string
	Cells   [][]image.Image // [row][column], squares of one size
	Data    Table
}

// Noising draws figure 3: a picture under the noise of the linear and the cosine
// schedule (equation 9) at evenly spaced steps. The noise is the same everywhere, so that what
// differs is the schedule.
func Noising(p Picture, o NoisingOptions) (Strip, error) {
	if p.Size < 1 || len(p.RGB) != 3*p.Size*p.Size {
		return Strip{}, fmt.Errorf("%s: %d bytes are no picture of %d x %d pixels", p.Name, len(p.RGB), p.Size, p.Size)
	}
	if o.Columns == 0 {
		o.Columns = 9
	}
	if o.Columns < 2 || o.Columns > 40 || o.Columns > o.Steps+1 {
		return Strip{}, fmt.Errorf("%d columns: use 2 to 40, and no more than there are steps", o.Columns)
	}
	s := Strip{
		Caption: p.Name + " under linear and cosine noise at evenly spaced steps (Nichol & Dhariwal 2021, figure 3).",
		XLabel:  fmt.Sprintf("diffusion step t of T = %d", o.Steps),
		Data:    Table{Columns: []string{"schedule", "t", "t_over_T", "alpha_bar", "signal_factor", "noise_factor"}},
	}
	for k := range o.Columns {
		s.Columns = append(s.Columns, strconv.Itoa(o.step(k)))
	}
	for _, name := range []string{diffusion.Linear, diffusion.Cosine} {
		if err := s.addRow(name, p, o); err != nil {
			return Strip{}, err
		}
	}
	return s, nil
}

// step returns the step of column k.
func (o NoisingOptions) step(k int) int {
	return int(math.Round(float64(k) * float64(o.Steps) / float64(o.Columns-1)))
}

func (s *Strip) addRow(name string, p Picture, o NoisingOptions) error {
	schedule, err := named(name, o.Steps)
	if err != nil {
		return err
	}
	s.Rows = append(s.Rows, name)
	var cells []image.Image
	for k := range o.Columns {
		t, alphaBar := o.step(k), 1.0
		if t > 0 {
			alphaBar = schedule.AlphasCumprod[t-1]
		}
		signal, noise := math.Sqrt(alphaBar), math.Sqrt(1-alphaBar)
		s.Data.add(name, float64(t), float64(t)/float64(o.Steps), alphaBar, signal, noise)
		cells = append(cells, p.noised(signal, noise, o.Seed))
	}
	s.Cells = append(s.Cells, cells)
	return nil
}

// noised returns signal x_0 + noise epsilon as a picture; what leaves the range
// of pixels is clipped.
func (p Picture) noised(signal, noise float64, seed uint64) image.Image {
	random := rand.New(rand.NewPCG(seed, 0))
	img := image.NewNRGBA(image.Rect(0, 0, p.Size, p.Size))
	for i, b := range p.RGB {
		x := signal*(float64(b)/127.5-1) + noise*random.NormFloat64()
		img.Pix[i/3*4+i%3] = byte(math.Round(min(max((x+1)*127.5, 0), 255)))
		img.Pix[i/3*4+3] = 0xff
	}
	return img
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

// The places around a strip's pictures.
const (
	rowLabels    = 1.9 * vg.Centimeter
	columnLabels = 1.2 * vg.Centimeter
	cellGap      = 0.1 * vg.Centimeter
)

// cellSize is the side of a picture: few columns are not blown up.
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
			c.DrawImage(place, enlarged(img, cell))
		}
	}
	label.XAlign, label.YAlign = draw.XCenter, draw.YTop
	below := c.Max.Y - vg.Length(len(s.Rows))*(cell+cellGap)
	for k, text := range s.Columns {
		c.FillText(label, vg.Point{X: c.Min.X + rowLabels + vg.Length(k)*(cell+cellGap) + cell/2, Y: below}, text)
	}
	c.FillText(label, vg.Point{X: (c.Min.X + rowLabels + c.Max.X) / 2, Y: below - vg.Points(15)}, s.XLabel)
}

// enlarged repeats pixels until a picture is as fine as the PNG, so that no
// viewer blurs them.
func enlarged(img image.Image, side vg.Length) image.Image {
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
