package figure

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Chart is a figure of one or more pairs of axes.
type Chart struct {
	Caption string
	Panels  []Panel // two a row
	Data    Table
}

// Panel is a pair of axes with lines.
type Panel struct {
	Title string // may be empty
	X, Y  Axis
	Lines []Line
}

// Axis is the label and the scale of an axis. Zero limits are computed from the lines.
type Axis struct {
	Label    string // with the unit
	Log      bool   // logarithmic; values <= 0 are not drawn
	Min, Max float64
}

// Line is a curve. NaN in Y leaves a gap.
type Line struct {
	Name string // in the legend; lines with the same name share a colour
	X, Y []float64
	// Faint marks raw values behind their smoothed Line; they are not in the legend.
	Faint bool
	Marks bool // draws the points themselves too
}

// The sizes of a chart.
const (
	panelWidth  = 14 * vg.Centimeter
	panelHeight = 9 * vg.Centimeter
	margin      = 0.35 * vg.Centimeter
)

// Save writes the chart as PNG, SVG and CSV; see [Write].
func (c Chart) Save(path string) ([]string, error) {
	if len(c.Panels) == 0 {
		return nil, fmt.Errorf("%s: there is nothing to draw", path)
	}
	for _, p := range c.Panels {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	columns, rows := c.grid()
	return write(path, c.Data, drawing{
		caption: c.Caption,
		width:   vg.Length(columns) * panelWidth,
		height:  vg.Length(rows) * panelHeight,
		draw:    c.draw,
	})
}

func (c Chart) grid() (columns, rows int) {
	columns = min(2, len(c.Panels))
	return columns, (len(c.Panels) + columns - 1) / columns
}

func (c Chart) draw(canvas draw.Canvas) {
	columns, rows := c.grid()
	tiles := draw.Tiles{Cols: columns, Rows: rows, PadX: margin, PadY: margin}
	colours := c.colours()
	for i, p := range c.Panels {
		// Panels of the same curves share the first one's legend.
		legend := i == 0 || !p.namesOf(c.Panels[0])
		p.draw(tiles.At(canvas, i%columns, i/columns), colours, legend)
	}
}

// colours maps each name to the same colour in all panels.
func (c Chart) colours() map[string]int {
	of := map[string]int{}
	for _, p := range c.Panels {
		for _, l := range p.Lines {
			if _, known := of[l.Name]; !known {
				of[l.Name] = len(of)
			}
		}
	}
	return of
}

// check refuses a panel that would be empty.
func (p Panel) check() error {
	points := 0
	for _, l := range p.Lines {
		if len(l.X) != len(l.Y) {
			return fmt.Errorf("%s: %d positions for %d values", l.Name, len(l.X), len(l.Y))
		}
		for i := range l.X {
			if p.shows(l.X[i], l.Y[i]) {
				points++
			}
		}
	}
	if points == 0 {
		return fmt.Errorf("none of the values of %q can be drawn%s", p.Y.Label, p.Y.whyNot())
	}
	return nil
}

// shows reports whether a point can be drawn on the axes.
func (p Panel) shows(x, y float64) bool { return p.X.takes(x) && p.Y.takes(y) }

// label returns the text along the axis.
func (a Axis) label() string {
	if a.Log {
		return a.Label + " (log scale)"
	}
	return a.Label
}

func (a Axis) takes(v float64) bool { return finite(v) && (!a.Log || v > 0) }

// spans reports whether a logarithmic axis suits the values of lines: all are > 0 and
// they span more than a decade.
func spans(lines []Line) bool {
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for _, v := range l.Y {
			if finite(v) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	return low > 0 && high > 10*low
}

func (a Axis) whyNot() string {
	if a.Log {
		return ": the axis is logarithmic, and no value is above 0"
	}
	return ": no value is finite"
}

// namesOf reports whether all names of p are also the other panel's.
func (p Panel) namesOf(other Panel) bool {
	for _, l := range p.Lines {
		if !slices.ContainsFunc(other.Lines, func(o Line) bool { return o.Name == l.Name }) {
			return false
		}
	}
	return true
}
