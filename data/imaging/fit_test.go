package imaging

import (
	"strings"
	"testing"
)

func TestFitRefuses(t *testing.T) {
	at := func(x, y int) func(w, h int) (int, int) {
		return func(int, int) (int, int) { return x, y }
	}
	p := newImage(nil, 9, 6, 3)
	for what, c := range map[string]struct {
		p                 Image
		bytes, size, side int
		x, y              int
		want              string
	}{
		"size 0":           {p, 300, 0, 6, 0, 0, "cannot be resized"},
		"shorter than it":  {p, 300, 4, 3, 0, 0, "cannot be resized"},
		"no room":          {p, 47, 4, 4, 0, 0, "in 47 bytes"},
		"nothing":          {Image{}, 300, 4, 4, 0, 0, "0 x 0 pixels"},
		"left of it":       {p, 300, 4, 6, -1, 0, "at (-1, 0)"},
		"too far right":    {p, 300, 4, 6, 6, 0, "9 x 6"},
		"too far down":     {p, 300, 4, 6, 0, 3, "at (0, 3)"},
		"the last corner":  {p, 48, 4, 6, 5, 2, ""},
		"scaled, too far":  {p, 300, 4, 4, 3, 0, "6 x 4"},
		"scaled, in place": {p, 300, 4, 4, 2, 0, ""},
	} {
		err := c.p.FitTo(make([]byte, c.bytes), c.size, c.side, at(c.x, c.y))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}

func TestFromPixels(t *testing.T) {
	d := Decoder{Background: Background{100, 0, 200}}
	for _, c := range []struct {
		w, h, c int
		pix     []byte
		rgb     []byte // nil: refused
	}{
		{1, 2, 1, []byte{7, 9}, []byte{7, 7, 7, 9, 9, 9}},
		{1, 2, 3, []byte{1, 2, 3, 4, 5, 6}, []byte{1, 2, 3, 4, 5, 6}},
		{2, 1, 4, []byte{1, 2, 3, 255, 4, 5, 6, 0}, []byte{1, 2, 3, 100, 0, 200}},
		{1, 1, 2, []byte{1, 2}, nil},
		{1, 2, 3, []byte{1, 2, 3}, nil},
		{0, 2, 3, nil, nil},
		{-1, -1, 3, []byte{1, 2, 3}, nil},
		{1 << 62, 4, 1, nil, nil},
	} {
		p, err := d.FromPixels(c.w, c.h, c.c, c.pix)
		if (err == nil) != (c.rgb != nil) {
			t.Errorf("%d x %d x %d: %v", c.w, c.h, c.c, err)
			continue
		}
		got := make([]byte, len(c.rgb))
		p.writeRGB(got)
		if string(got) != string(c.rgb) || err == nil && (p.Size().X != c.w || p.Size().Y != c.h) {
			t.Errorf("%d x %d x %d: %v of %v pixels, want %v", c.w, c.h, c.c, got, p.Size(), c.rgb)
		}
	}
}
