package imaging

import (
	"image"
	"image/color"
	"testing"
)

func TestGrid(t *testing.T) {
	// Three images of one pixel each.
	pixels := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}
	background := color.NRGBA{90, 80, 70, 255}
	first, second, third := color.NRGBA{1, 2, 3, 255}, color.NRGBA{4, 5, 6, 255}, color.NRGBA{7, 8, 9, 255}
	for what, c := range map[string]struct {
		pixels        []byte
		size, columns int
		want          image.Point // of the grid
		at            map[image.Point]color.NRGBA
	}{
		"one row":     {pixels, 1, 3, image.Pt(11, 5), map[image.Point]color.NRGBA{{2, 2}: first, {5, 2}: second, {8, 2}: third}},
		"two columns": {pixels, 1, 2, image.Pt(8, 8), map[image.Point]color.NRGBA{{2, 2}: first, {5, 2}: second, {2, 5}: third, {5, 5}: background}},
		"one column":  {pixels, 1, 1, image.Pt(5, 11), map[image.Point]color.NRGBA{{2, 8}: third}},
		"few":         {pixels[:6], 1, 8, image.Pt(8, 5), map[image.Point]color.NRGBA{{0, 0}: background, {5, 2}: second, {7, 4}: background}},
		"a part left": {pixels[:8], 1, 8, image.Pt(8, 5), nil},
		"none":        {nil, 1, 8, image.Pt(5, 2), nil},
		"larger":      {append(make([]byte, 9), 7, 8, 9), 2, 1, image.Pt(6, 6), map[image.Point]color.NRGBA{{2, 2}: {A: 255}, {3, 3}: third}},
		"no size":     {pixels, 0, 1, image.Point{}, nil},
		"no columns":  {pixels, 1, 0, image.Point{}, nil},
	} {
		grid := Grid(c.pixels, c.size, c.columns, background)
		if grid.Rect.Size() != c.want {
			t.Errorf("%s: %v, want %v", what, grid.Rect.Size(), c.want)
		}
		for at, want := range c.at {
			if got := grid.NRGBAAt(at.X, at.Y); got != want {
				t.Errorf("%s at %v: %v, want %v", what, at, got, want)
			}
		}
	}
}
