package figure

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Table is the CSV of a figure: a line per row, with the row's name first.
type Table struct {
	Columns []string // of the names, then of the values
	Rows    []Row
}

// Row is a named row of numbers, written with full precision.
type Row struct {
	Name   string
	Values []float64
}

// add appends a row.
func (t *Table) add(name string, values ...float64) { t.Rows = append(t.Rows, Row{name, values}) }

// csv returns the table's text.
func (t Table) csv() ([]byte, error) {
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	errs := []error{w.Write(t.Columns)}
	for _, r := range t.Rows {
		cells := []string{r.Name}
		for _, v := range r.Values {
			cells = append(cells, cell(v))
		}
		errs = append(errs, w.Write(cells))
	}
	w.Flush()
	return text.Bytes(), errors.Join(append(errs, w.Error())...)
}

// cell formats a number for Python's float(); NaN is an empty cell.
func cell(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// drawing is a figure without its caption.
type drawing struct {
	caption       string
	width, height vg.Length
	draw          func(draw.Canvas)
}

// dotsPerInch is the PNG's resolution.
const dotsPerInch = 200

// Paths returns the files that Save writes for a path: NAME.png, NAME.svg and
// NAME.csv. The path may have any of these extensions, or none.
func Paths(path string) (png, svg, table string, err error) {
	base := path
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".png", ".svg", ".csv":
		base = path[:len(path)-len(ext)]
	case "":
	default:
		return "", "", "", fmt.Errorf("%s: a figure is written as .png, .svg and .csv, not as %s", path, ext)
	}
	if name := filepath.Base(base); path == "" || strings.HasSuffix(path, string(filepath.Separator)) || name == "." || name == ".." || name == "" {
		return "", "", "", fmt.Errorf("%q names no file: write a name such as figure.png", path)
	}
	return base + ".png", base + ".svg", base + ".csv", nil
}

// write writes the three files of a figure, each atomically, and returns their paths. It
// renders all of them before it writes the first.
func write(path string, data Table, d drawing) ([]string, error) {
	png, svg, table, err := Paths(path)
	if err != nil {
		return nil, err
	}
	files := []struct {
		path   string
		render func() ([]byte, error)
		text   []byte
	}{{path: png, render: d.png}, {path: svg, render: d.svg}, {path: table, render: data.csv}}
	for i, f := range files {
		if files[i].text, err = f.render(); err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(png), 0o777); err != nil {
		return nil, fmt.Errorf("cannot create the figure's folder: %w", err)
	}
	for _, f := range files {
		if err := renameio.WriteFile(f.path, f.text, 0o666); err != nil {
			return nil, fmt.Errorf("cannot write %s: %w", f.path, err)
		}
	}
	return []string{png, svg, table}, nil
}

// size returns the size of the whole figure, and the lines of its caption.
func (d drawing) size() (width, height vg.Length, caption []string) {
	width = d.width + 2*margin
	caption = wrap(d.caption, textStyle(captionSize), d.width)
	return width, d.height + 2*margin + captionHeight(len(caption)), caption
}

func (d drawing) png() ([]byte, error) {
	width, height, _ := d.size()
	c := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dotsPerInch))}
	d.render(draw.New(c))
	var text bytes.Buffer
	_, err := c.WriteTo(&text)
	return text.Bytes(), err
}

func (d drawing) svg() ([]byte, error) {
	width, height, _ := d.size()
	c := vgsvg.NewWith(vgsvg.UseWH(width, height))
	d.render(draw.New(c))
	var text bytes.Buffer
	_, err := c.WriteTo(&text)
	// Without Liberation Sans a viewer would use its default font, with serifs and other
	// widths; these fonts have the same widths.
	fonts := []byte("font-family:Liberation Sans,Arimo,Arial,Helvetica,sans-serif;")
	return bytes.ReplaceAll(text.Bytes(), []byte("font-family:Liberation Sans;"), fonts), err
}

// render draws the figure with its caption beneath.
func (d drawing) render(c draw.Canvas) {
	_, _, caption := d.size()
	s := textStyle(captionSize)
	s.YAlign = draw.YTop
	below := captionHeight(len(caption))
	d.draw(draw.Crop(c, margin, -margin, below+margin, -margin))
	for i, line := range caption {
		c.FillText(s, vg.Point{X: c.Min.X + margin, Y: c.Min.Y + below - vg.Points(1.3*captionSize*float64(i))}, line)
	}
}
