package figure

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// draw draws the panel. Axis labels and legend are placed here: gonum reserves space on a
// logarithmic axis as if it were linear, and puts the legend outside the axes.
func (p Panel) draw(canvas draw.Canvas, colours map[string]int, legend bool) {
	chart := plot.New()
	style(chart)
	chart.Title.Text = p.Title
	x, y := p.limits()
	p.X.apply(&chart.X, x)
	p.Y.apply(&chart.Y, y)
	chart.Add(newGrid())
	for _, faint := range []bool{true, false} {
		for _, l := range p.Lines {
			if l.Faint == faint {
				chart.Add(curve{l, p, lineStyle(colours[l.Name], faint)})
			}
		}
	}
	label := textStyle(labelSize)
	room := 1.6 * label.Height("x")
	inner := draw.Crop(canvas, room, 0, room, 0)
	chart.Draw(inner)
	inner = chart.DataCanvas(inner)
	p.drawLabels(canvas, inner.Center())
	if legend {
		p.drawLegend(inner, x, y, colours)
	}
}

// drawLabels draws the axis labels, centred along the axes.
func (p Panel) drawLabels(c draw.Canvas, centre vg.Point) {
	x := fitting(p.X.label(), 2*min(c.Max.X-centre.X, centre.X-c.Min.X))
	x.XAlign, x.YAlign = draw.XCenter, draw.YBottom
	c.FillText(x, vg.Point{X: centre.X, Y: c.Min.Y}, p.X.label())
	y := fitting(p.Y.label(), 2*min(c.Max.Y-centre.Y, centre.Y-c.Min.Y))
	y.XAlign, y.YAlign, y.Rotation = draw.XCenter, draw.YTop, math.Pi/2
	c.FillText(y, vg.Point{X: c.Min.X, Y: centre.Y}, p.Y.label())
}

// fitting returns the style of an axis label, with a smaller font if it would not fit.
func fitting(label string, length vg.Length) text.Style {
	s := textStyle(labelSize)
	if width := s.Width(label); width > length {
		s.Font.Size *= length / width
	}
	return s
}

// drawLegend draws the legend where it covers the fewest points.
func (p Panel) drawLegend(c draw.Canvas, x, y [2]float64, colours map[string]int) {
	legend := plot.NewLegend()
	legend.TextStyle.Font = sans(11)
	legend.ThumbnailWidth, legend.Padding = vg.Points(20), vg.Points(3)
	for _, l := range p.Lines {
		if l.Name != "" && !l.Faint {
			legend.Add(l.Name, curve{l, p, lineStyle(colours[l.Name], false)})
		}
	}
	const inset = 6 * vg.Inch / 72
	c = draw.Crop(c, inset, -inset, inset, -inset)
	size, all := legend.Rectangle(c).Size(), c.Size()
	left, down := p.emptiestPlace(x, y, float64((size.X+2*inset)/all.X), float64((size.Y+2*inset)/all.Y))
	c.Max.Y -= vg.Length(down) * (all.Y - size.Y)
	legend.Left, legend.Top = left, true
	c.SetColor(color.NRGBA{0xff, 0xff, 0xff, 0xc8})
	c.Fill(upperCorner(c.Rectangle, size, left).Path())
	legend.Draw(c)
}

// upperCorner returns the part of r, of a size, in one of its upper corners.
func upperCorner(r vg.Rectangle, size vg.Point, left bool) vg.Rectangle {
	if left {
		r.Max.X = r.Min.X + size.X
	} else {
		r.Min.X = r.Max.X - size.X
	}
	r.Min.Y = r.Max.Y - size.Y
	return r
}

// limits returns the ranges of both axes. Outliers of Faint lines may be outside.
func (p Panel) limits() (x, y [2]float64) {
	x, y = [2]float64{math.Inf(1), math.Inf(-1)}, [2]float64{math.Inf(1), math.Inf(-1)}
	for _, l := range p.Lines {
		for i := range l.X {
			if !l.Faint && p.shows(l.X[i], l.Y[i]) {
				x[0], x[1] = min(x[0], l.X[i]), max(x[1], l.X[i])
				y[0], y[1] = min(y[0], l.Y[i]), max(y[1], l.Y[i])
			}
		}
	}
	return p.X.widen(x, 0), p.Y.widen(y, 0.04)
}

// widen returns the axis' own limits if set, and otherwise r widened by a fraction of the
// range at both ends. A range of rounding errors alone counts as one value.
func (a Axis) widen(r [2]float64, share float64) [2]float64 {
	if a.Min != a.Max {
		return [2]float64{a.Min, a.Max}
	}
	constant := r[1]-r[0] <= roundingRange*max(math.Abs(r[0]), math.Abs(r[1]))
	if a.Log {
		factor := math.Pow(r[1]/r[0], share)
		if constant {
			factor = 2
		}
		return [2]float64{r[0] / factor, r[1] * factor}
	}
	free := share * (r[1] - r[0])
	if constant {
		free = max(0.5*math.Abs(r[0]), 1e-9)
	}
	return [2]float64{r[0] - free, r[1] + free}
}

// roundingRange is the range, relative to the values, below which float64 has no room for ticks.
const roundingRange = 1e-12

func (a Axis) apply(axis *plot.Axis, r [2]float64) {
	axis.Min, axis.Max = r[0], r[1]
	axis.Tick.Marker = plot.TickerFunc(linearTicks)
	if a.Log {
		axis.Scale, axis.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
	}
}

// newGrid returns faint lines at the labelled ticks.
func newGrid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = gridColour, gridColour
	g.Vertical.Width, g.Horizontal.Width = vg.Points(0.5), vg.Points(0.5)
	return g
}

// curve draws a Line. It omits points that are indistinguishably close, so that the SVG
// of 4,000 steps stays small.
type curve struct {
	line  Line
	panel Panel
	style draw.LineStyle
}

// Plot draws the curve.
func (l curve) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	for _, piece := range l.pieces(toX, toY) {
		c.StrokeLines(l.style, c.ClipLinesXY(piece)...)
		if l.line.Marks || len(piece) == 1 {
			for _, point := range piece {
				c.DrawGlyph(draw.GlyphStyle{Color: l.style.Color, Radius: vg.Points(2.2), Shape: draw.CircleGlyph{}}, point)
			}
		}
	}
}

func (l curve) pieces(toX, toY func(float64) vg.Length) (pieces [][]vg.Point) {
	const near = 0.3 // points
	var piece []vg.Point
	for i, x := range l.line.X {
		if !l.panel.shows(x, l.line.Y[i]) {
			if len(piece) > 0 {
				pieces, piece = append(pieces, piece), nil
			}
			continue
		}
		at := vg.Point{X: toX(x), Y: toY(l.line.Y[i])}
		if n := len(piece); n > 0 && i < len(l.line.X)-1 && math.Hypot(float64(at.X-piece[n-1].X), float64(at.Y-piece[n-1].Y)) < near {
			continue
		}
		piece = append(piece, at)
	}
	if len(piece) > 0 {
		pieces = append(pieces, piece)
	}
	return pieces
}

// Thumbnail draws the curve's sample in the legend.
func (l curve) Thumbnail(c *draw.Canvas) {
	y := c.Center().Y
	c.StrokeLine2(l.style, c.Min.X, y, c.Max.X, y)
}

// emptiestPlace returns where a box of width and height, as fractions of the axes, covers
// the fewest points of the curves: at the left or right side, and how far down, from 0 at
// the top to 1. Of equal places it prefers a corner.
func (p Panel) emptiestPlace(x, y [2]float64, width, height float64) (left bool, down float64) {
	points := p.traced(x, y)
	fewest := len(points) + 1
	for _, d := range []float64{0, 1, 0.25, 0.5, 0.75} {
		top := 1 - d*(1-height)
		for _, l := range []bool{false, true} {
			covered := 0
			for _, at := range points {
				fromSide := 1 - at[0]
				if l {
					fromSide = at[0]
				}
				if fromSide < width && at[1] <= top && at[1] >= top-height {
					covered++
				}
			}
			if covered < fewest {
				fewest, left, down = covered, l, d
			}
		}
	}
	return left, down
}

// traced returns points along all curves, as fractions of the axes.
func (p Panel) traced(x, y [2]float64) (points [][2]float64) {
	const between = 40
	for _, l := range p.Lines {
		var last [2]float64
		for i := range l.X {
			if !p.shows(l.X[i], l.Y[i]) {
				continue
			}
			at := [2]float64{p.X.share(l.X[i], x), p.Y.share(l.Y[i], y)}
			if len(l.X) < 1000 && i > 0 {
				for k := range between {
					w := float64(k) / between
					points = append(points, [2]float64{last[0] + w*(at[0]-last[0]), last[1] + w*(at[1]-last[1])})
				}
			}
			points, last = append(points, at), at
		}
	}
	return points
}

// share returns the position of a value on an axis, from 0 to 1.
func (a Axis) share(v float64, r [2]float64) float64 {
	if a.Log {
		return math.Log(v/r[0]) / math.Log(r[1]/r[0])
	}
	return (v - r[0]) / (r[1] - r[0])
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
