package imaging

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// samePNG checks that decodePNG, if ok, agrees with image/png. It returns ok.
func samePNG(t testing.TB, what string, file []byte) bool {
	t.Helper()
	d := Decoder{Background: Background{200, 30, 60}, Memory: &Memory{}}
	p, ok := d.decodePNG(file)
	if !ok {
		return false
	}
	want, err := Decoder{Background: d.Background}.decodeImage(file)
	if err != nil {
		t.Fatalf("%s: decoded, but image/png says: %v", what, err)
	}
	if p.w != want.w || p.h != want.h || p.c != want.c || p.palette != want.palette || !bytes.Equal(p.pix, want.pix) {
		t.Fatalf("%s: %d x %d x %d, palette %t, differs from image/png's %d x %d x %d, palette %t", what, p.w, p.h, p.c, p.palette, want.w, want.h, want.c, want.palette)
	}
	return true
}

// commonPNGs are images of every common kind, whose pixels use every filter.
func commonPNGs(t testing.TB) map[string][]byte {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	palette := color.Palette{color.NRGBA{1, 2, 3, 255}, color.NRGBA{90, 80, 70, 128}, color.NRGBA{9, 8, 7, 0}, color.White}
	files := map[string][]byte{}
	for _, size := range []image.Point{{1, 1}, {2, 3}, {31, 17}, {130, 200}} {
		at := image.Rectangle{Max: size}
		grey, rgb, rgba, indexed := image.NewGray(at), image.NewNRGBA(at), image.NewNRGBA(at), image.NewPaletted(at, palette)
		for y := range size.Y {
			for x := range size.X {
				v := byte(3*x + 2*y + r.IntN(4))
				grey.SetGray(x, y, color.Gray{v})
				rgb.SetNRGBA(x, y, color.NRGBA{v, byte(x * y), byte(r.IntN(3)), 255})
				rgba.SetNRGBA(x, y, color.NRGBA{v, byte(x * y), 7, byte(y * 9)})
				indexed.SetColorIndex(x, y, byte(r.IntN(4)))
			}
		}
		for name, m := range map[string]image.Image{"grey": grey, "rgb": rgb, "rgba": rgba, "palette": indexed} {
			var b bytes.Buffer
			if err := png.Encode(&b, m); err != nil {
				t.Fatal(err)
			}
			files[fmt.Sprintf("%s %v", name, size)] = b.Bytes()
		}
	}
	return files
}

func TestPNG(t *testing.T) {
	for name, file := range commonPNGs(t) {
		// Of a palette of four colours Go's encoder writes two bits per pixel.
		if got := samePNG(t, name, file); got != (name[:4] != "pale") {
			t.Errorf("%s: decoded %t", name, got)
		}
	}
	common := 0
	for _, pattern := range []string{"testdata/pillow/*.png", "../../testdata/golden/image/*.png"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			file, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if samePNG(t, name, file) {
				common++
			}
		}
	}
	if common < 12 {
		t.Errorf("only %d of the images were of the common kind", common)
	}
}

// TestPNGFilters encodes with each filter in turn; Go's encoder chooses filters itself.
func TestPNGFilters(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for colour, channels := range map[byte]int{pngGrey: 1, pngGreyAlpha: 2, pngRGB: 3, pngRGBA: 4} {
		const w, h = 23, 40
		var rows []byte
		for y := range h {
			rows = append(rows, byte(y%5))
			for range w * channels {
				rows = append(rows, byte(r.Uint32()))
			}
		}
		if !samePNG(t, fmt.Sprintf("colour type %d", colour), rawPNG(w, h, colour, rows)) {
			t.Errorf("colour type %d is not decoded", colour)
		}
		rows[0] = 5
		if samePNG(t, "filter 5", rawPNG(w, h, colour, rows)) {
			t.Error("there is no filter 5")
		}
	}
}

// rawPNG returns a file of the given filtered rows in three IDAT chunks.
func rawPNG(w, h uint32, colour byte, rows []byte) []byte {
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
	packed := string(deflated(rows))
	file := append([]byte(pngSignature), pngChunk("IHDR", string(append(header, 8, colour, 0, 0, 0)))...)
	for _, part := range []string{packed[:5], packed[5:9], packed[9:]} {
		file = append(file, pngChunk("IDAT", part)...)
	}
	return append(file, pngChunk("IEND", "")...)
}

// TestPNGDamaged changes every byte of files, and truncates them at every byte, with and
// without repaired checksums. The result must agree with image/png.
func TestPNGDamaged(t *testing.T) {
	indexed := pngSignature + string(pngChunk("IHDR", "\x00\x00\x00\x03\x00\x00\x00\x02\x08\x03\x00\x00\x00")) +
		string(pngChunk("PLTE", "abcdefghi")) + string(pngChunk("tRNS", "\x00\x80")) +
		string(pngChunk("IDAT", string(deflated([]byte{0, 0, 1, 2, 1, 2, 255, 7})))) + string(pngChunk("IEND", ""))
	rgb := commonPNGs(t)["rgb (2,3)"]
	if !samePNG(t, "indexed", []byte(indexed)) {
		t.Error("8-bit palette is not decoded")
	}
	for _, whole := range [][]byte{[]byte(indexed), rgb} {
		decoded := 0
		for at := range whole {
			samePNG(t, fmt.Sprintf("cut at %d", at), whole[:at])
			for _, v := range []byte{0, 1, 255, whole[at] ^ 1, whole[at] ^ 128} {
				file := bytes.Clone(whole)
				file[at] = v
				samePNG(t, fmt.Sprintf("byte %d is %d", at, v), file)
				if mendPNG(file) && samePNG(t, fmt.Sprintf("byte %d is %d, mended", at, v), file) {
					decoded++
				}
			}
		}
		if decoded < 50 {
			t.Errorf("only %d files with changes were decoded", decoded)
		}
	}
}

// mendPNG corrects the checksums of chunks, if the chunks can be parsed.
func mendPNG(file []byte) bool {
	for rest := file[len(pngSignature):]; len(rest) > 0; {
		n := uint64(0)
		if len(rest) >= 12 {
			n = uint64(binary.BigEndian.Uint32(rest))
		}
		if len(rest) < 12 || n > uint64(len(rest)-12) {
			return false
		}
		binary.BigEndian.PutUint32(rest[8+n:], crc32.ChecksumIEEE(rest[4:8+n]))
		rest = rest[12+n:]
	}
	return true
}

func FuzzPNG(f *testing.F) {
	for _, file := range commonPNGs(f) {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if config, err := png.DecodeConfig(bytes.NewReader(file)); err != nil || config.Width*config.Height > 1<<16 {
			return
		}
		if mendPNG(file) {
			samePNG(t, "mended", file)
		}
	})
}
