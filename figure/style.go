package figure

import (
	"image/color"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// palette is Okabe and Ito's, which is colour-blind safe.
var palette = []color.NRGBA{
	{0x00, 0x72, 0xb2, 0xff}, // blue
	{0xd5, 0x5e, 0x00, 0xff}, // vermilion
	{0x00, 0x9e, 0x73, 0xff}, // green
	{0xcc, 0x79, 0xa7, 0xff}, // purple
	{0xe6, 0x9f, 0x00, 0xff}, // orange
	{0x56, 0xb4, 0xe9, 0xff}, // sky blue
	{0x00, 0x00, 0x00, 0xff},
}

var gridColour = color.NRGBA{0xe4, 0xe4, 0xe4, 0xff}

// lineStyle returns the style of the i-th curve; curves beyond the palette are dashed.
func lineStyle(i int, faint bool) draw.LineStyle {
	s := draw.LineStyle{Color: palette[i%len(palette)], Width: vg.Points(1.6)}
	if i >= len(palette) {
		s.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
	}
	if faint {
		c := palette[i%len(palette)]
		c.A = 0x38
		s.Color, s.Width = c, vg.Points(0.8)
	}
	return s
}

func sans(size float64) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
}

func textStyle(size float64) text.Style {
	return text.Style{Color: color.Black, Font: sans(size), Handler: plot.DefaultTextHandler}
}

// style gives a plot the fonts and spacing of all figures.
func style(p *plot.Plot) {
	p.Title.TextStyle.Font = sans(12)
	p.Title.Padding = vg.Points(6)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Tick.Label.Font = sans(10.5)
		axis.Padding = vg.Points(3)
	}
}

// The sizes of text, in points.
const (
	labelSize   = 12
	captionSize = 10.5
)

// wrap breaks a caption into lines that fit a width.
func wrap(caption string, s text.Style, width vg.Length) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(caption) {
		longer := strings.TrimSpace(line + " " + word)
		if line != "" && s.Width(longer) > width {
			lines = append(lines, line)
			longer = word
		}
		line = longer
	}
	return append(lines, line)
}

// captionHeight is the height of a caption of n lines.
func captionHeight(n int) vg.Length { return vg.Points(1.3*captionSize*float64(n)) + margin }
