package data

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iddpm/data/turbojpeg"
)

func jpegFile(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", "pillow", name))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestBothDecoders checks that the choice changes a few grey levels and nothing
// else: not which files can be read, and not what is said of those that cannot.
func TestBothDecoders(t *testing.T) {
	turbo, golang := decoding{turbo: needTurbo(t), orient: true}, decoding{orient: true}
	whole := jpegFile(t, "rgb_420.jpg")
	noEnd := whole[:len(whole)-2]
	damaged := bytes.Clone(whole)
	copy(damaged[len(damaged)/2:], "\xff\xd9\xff\xd9")
	for name, file := range map[string][]byte{
		"whole": whole, "progressive": jpegFile(t, "rgb_420_progressive.jpg"), "grey": jpegFile(t, "gray.jpg"), "CMYK": jpegFile(t, "cmyk.jpg"),
		"turned": jpegFile(t, "exif_6.jpg"), "rubbish behind": append(bytes.Clone(whole), "rubbish"...),
		"no end": noEnd, "cut": whole[:len(whole)/2], "header alone": whole[:100], "damaged": damaged, "nothing": []byte("\xff\xd8\xff"),
		"png": numbered(3),
	} {
		p, err1 := turbo.decode(file)
		q, err2 := golang.decode(file)
		if (err1 == nil) != (err2 == nil) || err1 != nil && err1.Error() != err2.Error() {
			t.Errorf("%s: %v and %v", name, err1, err2)
			continue
		}
		if p.w != q.w || p.h != q.h || p.c != q.c {
			t.Errorf("%s: %d x %d of %d channels and %d x %d of %d", name, p.w, p.h, p.c, q.w, q.h, q.c)
			continue
		}
		comparePixels(t, p.pix, q.pix, 4, 0.8)
	}
}

// TestJPEGDecoder checks the option, and what the set says it came to.
func TestJPEGDecoder(t *testing.T) {
	photos := folder(t, map[string][]byte{"a.png": numbered(1), "b.JPG": jpegFile(t, "rgb_420.jpg")})
	drawings := folder(t, map[string][]byte{"a.png": numbered(1)})
	best := "Go"
	if turbojpeg.Available() == nil {
		best = "libjpeg-turbo"
	}
	for _, c := range []struct{ path, option, want string }{
		{photos, "", best}, {photos, "auto", best}, {photos, "go", "Go"}, {drawings, "", ""}, {"", "", ""},
		{"testdata/batches/cifar-10-binary.tar.gz", "", ""}, {database(t, map[string][]byte{"1f": numbered(1)}), "go", "Go"},
	} {
		if got := open(t, c.path, Options{JPEGDecoder: c.option}).JPEGDecoder(); got != c.want {
			t.Errorf("%s, %q: %q, want %q", c.path, c.option, got, c.want)
		}
	}
	if _, err := Open(photos, Options{JPEGDecoder: "magick"}); err == nil || !strings.Contains(err.Error(), "choose auto, turbo or go") {
		t.Errorf("an unknown decoder: %v", err)
	}
	ds, err := Open(photos, Options{JPEGDecoder: "turbo"})
	if (err == nil) != (turbojpeg.Available() == nil) {
		t.Errorf("turbo: %v", err)
	}
	if err == nil {
		defer ds.Close()
		if ds.JPEGDecoder() != "libjpeg-turbo" {
			t.Error(ds.JPEGDecoder())
		}
	}
}
