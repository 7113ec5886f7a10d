package turbojpeg

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func newDecoder(t *testing.T) *Decoder {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
	d, err := NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// flat returns a jpeg of one colour.
func flat(t *testing.T, m interface {
	image.Image
	Set(x, y int, c color.Color)
}, c color.Color) []byte {
	t.Helper()
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			m.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecode(t *testing.T) {
	d := newDecoder(t)
	for _, c := range []struct {
		file   []byte
		header Header
		first  []byte
	}{
		{flat(t, image.NewGray(image.Rect(0, 0, 5, 3)), color.Gray{77}), Header{5, 3, 1}, []byte{77, 77}},
		{flat(t, image.NewNRGBA(image.Rect(0, 0, 17, 9)), color.Gray{200}), Header{17, 9, 3}, []byte{200, 200, 200, 200}},
	} {
		h, err := d.Header(c.file)
		if err != nil || h != c.header {
			t.Fatalf("%+v, %v, want %+v", h, err, c.header)
		}
		pixels := make([]byte, h.Width*h.Height*h.Channels+1)
		pixels[len(pixels)-1] = 9
		if err := d.Decode(pixels, c.file, h); err != nil || !bytes.HasPrefix(pixels, c.first) || pixels[len(pixels)-1] != 9 {
			t.Errorf("%v, %v, want %v and so on", pixels, err, c.first)
		}
	}
}

func TestErrors(t *testing.T) {
	d := newDecoder(t)
	file := flat(t, image.NewNRGBA(image.Rect(0, 0, 64, 64)), color.Gray{200})
	for name, bad := range map[string][]byte{"empty": nil, "text": []byte("no image"), "header alone": file[:20]} {
		if h, err := d.Header(bad); err == nil {
			t.Errorf("%s: %+v", name, h)
		}
	}
	pixels := make([]byte, 64*64*3)
	h := Header{64, 64, 3}
	if err := d.Decode(pixels, file[:len(file)-40], h); err == nil {
		t.Error("a file that is cut short is decoded")
	}
	for want, err := range map[string]error{
		"no room": d.Decode(pixels[1:], file, h), "2 channels": d.Decode(pixels, file, Header{64, 64, 2}),
		"0 x 64": d.Decode(pixels, file, Header{0, 64, 3}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one with %q", err, want)
		}
	}
	if err := d.Decode(pixels, file, h); err != nil {
		t.Errorf("after errors: %v", err)
	}
}

// Decoders work concurrently, and are freed when unreachable.
func TestManyDecoders(t *testing.T) {
	newDecoder(t)
	file := flat(t, image.NewNRGBA(image.Rect(0, 0, 40, 40)), color.Gray{130})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				d, err := NewDecoder()
				if err != nil {
					t.Error(err)
					return
				}
				pixels := make([]byte, 40*40*3)
				if err := d.Decode(pixels, file, Header{40, 40, 3}); err != nil || pixels[0] != 130 {
					t.Error(pixels[0], err)
				}
			}
			runtime.GC()
		})
	}
	wg.Wait()
}

func TestNoLibrary(t *testing.T) {
	err := load("libnowhere.so.0")
	if err == nil || !strings.Contains(err.Error(), "libnowhere.so.0") || !strings.Contains(err.Error(), "libturbojpeg0") {
		t.Errorf("%v does not name the library and its package", err)
	}
	if err := load("libm.so.6"); err == nil || !strings.Contains(err.Error(), "tjInitDecompress") {
		t.Errorf("another library: %v", err)
	}
}
