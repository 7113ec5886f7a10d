package imaging

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// TestWarnings checks which decoded images have a warning.
func TestWarnings(t *testing.T) {
	square := image.Rect(0, 0, 3, 3)
	grey16 := func(values ...uint16) image.Image {
		m := image.NewGray16(square)
		for i, v := range values {
			m.SetGray16(i%3, i/3, color.Gray16{v})
		}
		return m
	}
	rgb16 := func(v uint16) image.Image {
		m := image.NewRGBA64(square)
		for i := range 9 {
			m.SetRGBA64(i%3, i/3, color.RGBA64{1, v, 2, 0xffff})
		}
		return m
	}
	rgba := func(alpha ...byte) image.Image {
		m := image.NewNRGBA(square)
		for i := range 9 {
			m.SetNRGBA(i%3, i/3, color.NRGBA{10, 200, 30, alpha[i%len(alpha)]})
		}
		return m
	}
	rgba16 := func(v, alpha uint16) image.Image {
		m := image.NewNRGBA64(square)
		for i := range 9 {
			m.SetNRGBA64(i%3, i/3, color.NRGBA64{v, v, v, alpha})
		}
		return m
	}
	indexed := func(used byte) image.Image {
		m := image.NewPaletted(square, color.Palette{color.NRGBA{}, color.Black, color.White})
		for i := range m.Pix {
			m.Pix[i] = used
		}
		return m
	}
	encoded := map[string]func(b *bytes.Buffer, m image.Image) error{
		"png": func(b *bytes.Buffer, m image.Image) error { return png.Encode(b, m) },
		"gif": func(b *bytes.Buffer, m image.Image) error { return gif.Encode(b, m, nil) },
	}
	const twelve Warning = "only the low 12 of 16 bits are in use, so nearly black: multiply the values by 16"
	const eight Warning = "only the low 8 of 16 bits are in use, so nearly black: multiply the values by 256"
	for _, c := range []struct {
		what, format string
		m            image.Image
		want         Warning
	}{
		{"12 bits of grey", "png", grey16(0, 4095, 17), twelve},
		{"8 bits of grey", "png", grey16(255), eight},
		{"15 bits of grey", "png", grey16(1 << 14), ""},
		{"full grey", "png", grey16(0, 65535), ""},
		{"black", "png", grey16(), ""},
		{"12 bits of RGB", "png", rgb16(4000), twelve},
		{"full RGB", "png", rgb16(40000), ""},
		{"12 bits of RGBA", "png", rgba16(2048, 40000), twelve},
		{"transparent, 16 bits", "png", rgba16(40000, 0), Transparent},
		{"transparent", "png", rgba(0), Transparent},
		{"all but transparent", "png", rgba(0, 0, 1), ""},
		{"transparent palette", "png", indexed(0), Transparent},
		{"opaque palette", "png", indexed(2), ""},
		{"transparent gif", "gif", indexed(0), Transparent},
		{"opaque gif", "gif", indexed(1), ""},
	} {
		var file bytes.Buffer
		if err := encoded[c.format](&file, c.m); err != nil {
			t.Fatal(err)
		}
		for _, d := range []Decoder{{}, {Memory: &Memory{}}} {
			p, err := d.Decode(file.Bytes())
			if err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			if got := p.Warning(); got != c.want {
				t.Errorf("%s: %q, want %q", c.what, got, c.want)
			}
			if got := p.turned(6).Warning(); got != c.want {
				t.Errorf("%s, turned: %q, want %q", c.what, got, c.want)
			}
		}
	}
}

func TestTransparentBMP(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("testdata", "odd", "rgba32_v4.bmp"))
	if err != nil {
		t.Fatal(err)
	}
	const pixels = 14 + 108
	for i := pixels; i < len(file); i += 4 {
		file[i] = 0 // alpha
	}
	if p, err := (Decoder{}).Decode(file); err != nil || p.Warning() != Transparent {
		t.Errorf("%q, %v", p.Warning(), err)
	}
}

// TestFilesWithoutWarning checks that unusual but valid images have no warning.
func TestFilesWithoutWarning(t *testing.T) {
	for _, pattern := range []string{"pillow/*.*", "odd/*.*"} {
		files, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if !HasExtension(name) {
				continue
			}
			file, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if p, err := (Decoder{Turbo: true}).Decode(file); err == nil && p.Warning() != "" {
				t.Errorf("%s: %s", name, p.Warning())
			}
		}
	}
}
