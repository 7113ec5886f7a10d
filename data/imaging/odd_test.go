package imaging

import (
	"bytes"
	"compress/zlib"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/data/imaging/turbojpeg"
)

// TestOddKinds compares images in rare formats with Pillow's output
// (testdata/odd/make.py).
func TestOddKinds(t *testing.T) {
	d := Decoder{Background: Background{200, 30, 60}}
	t.Run("go", func(t *testing.T) { testOddKinds(t, d) })
	t.Run("turbo", func(t *testing.T) {
		d.Turbo = needTurbo(t)
		testOddKinds(t, d)
	})
}

func testOddKinds(t *testing.T, d Decoder) {
	dir := filepath.Join("testdata", "odd")
	expected, err := npy.ReadNPZ(filepath.Join(dir, "expected.npz"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range expected {
		t.Run(key, func(t *testing.T) {
			name, how, _ := strings.Cut(key, "@")
			file, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			p, err := d.Decode(file)
			if turboOnly := strings.HasPrefix(name, "sampling") || strings.HasPrefix(name, "arithmetic"); turboOnly && !d.Turbo {
				var unsupported *UnsupportedError
				if !errors.As(err, &unsupported) || unsupported.Format != "jpeg" || !strings.Contains(err.Error(), "libturbojpeg0") {
					t.Fatalf("%v does not say that Go's decoder does not support the file", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := wholeOrFitted(p, how)
			if err != nil {
				t.Fatal(err)
			}
			near, equal := 0, 1.0
			if filepath.Ext(name) == ".jpg" && !d.Turbo {
				near, equal = pillowTolerance(name)
			}
			comparePixels(t, got, want.Data, near, equal)
		})
	}
}

// TestCutTails truncates files after their last pixel, which Pillow accepts, and one
// byte earlier, which must be an error.
func TestCutTails(t *testing.T) {
	read := func(path ...string) []byte {
		file, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, c := range []struct {
		name     string
		file     []byte
		harmless int // number of bytes that may be missing
		harmful  int // number of bytes whose loss damages a pixel
	}{
		{"gif", read("pillow", "palette.gif"), 2, 3}, // the trailer, and the end of the sub-blocks
		{"bmp", read("odd", "rgb24_os2.bmp"), 3, 4},  // padding
		{"bmp with one byte of padding", read("pillow", "rgb.bmp"), 1, 2},
		{"run lengths", read("odd", "rle8.bmp"), 4, 5}, // the ends of line and of bitmap
		// IEND, the checksums of IDAT and of zlib, and the empty block that Go's writer ends with.
		{"png", encodePNG(t, noise(3)), 25, 28},
		{"grey png", encodePNG(t, noise(1)), 25, 28},
		{"16-bit png", encodePNG(t, noise(2)), 25, 28},
		{"interlaced png", interlacedPNG(t), 25, 28},
		{"png in parts", splitIDAT(t, encodePNG(t, noise(3))), 25, 28},
	} {
		whole, err := Decoder{}.Decode(c.file)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for n := range c.harmful + 20 {
			p, err := Decoder{}.Decode(c.file[:len(c.file)-n])
			switch {
			case err == nil && !bytes.Equal(p.pix, whole.pix):
				t.Errorf("%s without %d bytes: other pixels", c.name, n)
			case err == nil && n >= c.harmful:
				t.Errorf("%s without %d bytes is decoded", c.name, n)
			case err != nil && n <= c.harmless:
				t.Errorf("%s without %d bytes: %v", c.name, n, err)
			}
		}
	}
}

// noise returns an image of noise, which does not compress: 1 channel of 8 bits, 1 of 16,
// or 3 of 8.
func noise(kind int) image.Image {
	r := rand.New(rand.NewPCG(5, 6))
	grey, wide, rgb := image.NewGray(image.Rect(0, 0, 13, 9)), image.NewGray16(image.Rect(0, 0, 13, 9)), image.NewNRGBA(image.Rect(0, 0, 13, 9))
	for i := range 13 * 9 {
		x, y, v := i%13, i/13, r.Uint32()
		grey.SetGray(x, y, color.Gray{byte(v)})
		wide.SetGray16(x, y, color.Gray16{uint16(v)})
		rgb.SetNRGBA(x, y, color.NRGBA{byte(v), byte(v >> 8), byte(v >> 16), 255})
	}
	return map[int]image.Image{1: grey, 2: wide, 3: rgb}[kind]
}

func encodePNG(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// interlacedPNG returns an image of 9 x 5 grey pixels, in Adam7's passes.
func interlacedPNG(t *testing.T) []byte {
	t.Helper()
	var raw []byte
	for _, p := range [][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
		for y := p[1]; y < 5; y += p[3] {
			raw = append(raw, 0)
			for x := p[0]; x < 9; x += p[2] {
				raw = append(raw, byte(20*x+y*y*y))
			}
		}
	}
	b := []byte(pngSignature)
	b = append(b, pngChunk("IHDR", "\x00\x00\x00\x09\x00\x00\x00\x05\x08\x00\x00\x00\x01")...)
	b = append(b, pngChunk("IDAT", string(deflated(raw)))...)
	return append(b, pngChunk("IEND", "")...)
}

// splitIDAT cuts the pixels of a png into three chunks.
func splitIDAT(t *testing.T, file []byte) []byte {
	t.Helper()
	head, pixels, ok := splitPNG(file)
	if !ok {
		t.Fatal("no pixels")
	}
	third := len(pixels) / 3
	out := bytes.Clone(head)
	for _, part := range [][]byte{pixels[:third], pixels[third : 2*third], pixels[2*third:]} {
		out = append(out, pngChunk("IDAT", string(part))...)
	}
	return append(out, pngChunk("IEND", "")...)
}

// TestDamageAfterPixels checks that damage after the last pixel of a png is ignored, and
// that damaged pixels are still an error.
func TestDamageAfterPixels(t *testing.T) {
	whole := encodePNG(t, noise(3))
	want, err := Decoder{}.Decode(whole)
	if err != nil {
		t.Fatal(err)
	}
	end := len(whole) - 12 // of IDAT
	changed := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 0x55
		return b
	}
	text := pngChunk("tEXt", "a\x00b")
	text[len(text)-1]++
	insert := func(chunk string) []byte { return append(append(bytes.Clone(whole[:end]), chunk...), whole[end:]...) }
	head, pixels, _ := splitPNG(whole)
	rebuilt := func(pixels []byte) []byte {
		b := append(bytes.Clone(head), pngChunk("IDAT", string(pixels))...)
		return append(b, pngChunk("IEND", "")...)
	}
	wrong := bytes.Clone(pixels)
	wrong[len(wrong)-1]++
	raw, err := zlib.NewReader(bytes.NewReader(pixels))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := io.ReadAll(raw)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		ok   bool
	}{
		"checksum of IEND":       {changed(len(whole) - 1), true},
		"checksum of IDAT":       {changed(end - 1), true},
		"text's checksum":        {insert(string(text)), true},
		"junk":                   {insert("\x00\x00\x00\x05junk"), true},
		"a chunk without end":    {insert("\x7f\xff\xff\xfftEXt"), true},
		"zeros for IEND":         {append(bytes.Clone(whole[:end]), make([]byte, 50)...), true},
		"rows too many":          {rebuilt(deflated(append(bytes.Clone(rows), rows...))), true},
		"a row too few":          {rebuilt(deflated(rows[:len(rows)-40])), false},
		"checksum of the pixels": {rebuilt(wrong), false},
		"pixels":                 {changed(end - 40), false},
		"no pixels":              {append(bytes.Clone(head), pngChunk("IEND", "")...), false},
		"no header":              {append([]byte(pngSignature), whole[33:]...), false},
		"a short header":         {append([]byte(pngSignature), append(pngChunk("IHDR", "12345"), whole[33:]...)...), false},
	} {
		p, err := Decoder{}.Decode(c.file)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if c.ok && err == nil && !bytes.Equal(p.pix, want.pix) {
			t.Errorf("%s: other pixels", name)
		}
	}
}

// TestUnsupported checks that unsupported images are not reported as corrupt.
func TestUnsupported(t *testing.T) {
	jpeg, err := os.ReadFile(filepath.Join("testdata", "pillow", "rgb_444.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	header := func(at int, value byte) []byte {
		b := bytes.Clone(jpeg)
		b[bytes.Index(b, []byte("\xff\xc0"))+at] = value
		return b
	}
	cgbi := append([]byte(pngSignature), pngChunk("CgBI", "\x50\x00\x20\x02")...)
	for _, c := range []struct {
		file   []byte
		format string
	}{
		{header(4, 12), "jpeg with other than 8 bits"},
		{header(1, 0xc3), "jpeg with arithmetic, lossless"},
		{header(11, 0x33), "jpeg with an unusual chroma subsampling"},
		{append(cgbi, encodePNG(t, noise(3))[8:]...), "png with Apple's CgBI"},
		{[]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"), "HEIC"},
		{[]byte("\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1"), "AVIF"},
		{[]byte("II*\x00\x08\x00\x00\x00"), "TIFF"}, {[]byte("MM\x00*\x00\x00\x00\x08"), "TIFF"},
		{[]byte("\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a"), "JPEG 2000"},
		{[]byte("<svg xmlns=''/>"), "SVG"},
	} {
		for _, turbo := range []bool{false, turbojpeg.Available() == nil} {
			_, err := Decoder{Turbo: turbo}.Decode(c.file)
			var unsupported *UnsupportedError
			if !errors.As(err, &unsupported) || !strings.HasPrefix(err.Error(), c.format) || !strings.Contains(err.Error(), "not supported") {
				t.Errorf("%q: %v", c.format, err)
			}
		}
	}
	for _, file := range []string{"", "text", "<!DOCTYPE html>", "\x00\x00\x00\x18ftypisom"} {
		if _, err := (Decoder{}).Decode([]byte(file)); !errors.Is(err, ErrNotAImage) {
			t.Errorf("%q: %v", file, err)
		}
	}
}

// TestHostileAnimation checks that a frame with a wrong size, or a canvas beyond the
// limit, is an error.
func TestHostileAnimation(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("testdata", "odd", "animated_part_alpha_lossy.webp"))
	if err != nil {
		t.Fatal(err)
	}
	canvas := bytes.Index(file, []byte("VP8X")) + 8
	frame := bytes.Index(file, []byte("ANMF")) + 8
	for name, change := range map[string]func(b []byte){
		"beside the canvas": func(b []byte) { b[frame] = 40 },
		"wider":             func(b []byte) { b[frame+6]++ },
		"lower":             func(b []byte) { b[frame+9]-- },
		"huge canvas":       func(b []byte) { copy(b[canvas+4:], "\xff\xff\xff\xff\x00\x00") },
		"huger canvas":      func(b []byte) { copy(b[canvas+4:], "\xff\xff\xff\xff\xff\xff") },
		"no frame":          func(b []byte) { copy(b, bytes.ReplaceAll(b, []byte("ANMF"), []byte("XXXX"))) },
		"short frame":       func(b []byte) { copy(b[frame-4:], "\x04\x00\x00\x00") },
		"frame of nothing":  func(b []byte) { copy(b[frame+16:], "XXXXXXXX") },
	} {
		b := bytes.Clone(file)
		change(b)
		if p, err := (Decoder{}).Decode(b); err == nil {
			t.Errorf("%s: decoded to %v", name, p.Size())
		}
	}
}
