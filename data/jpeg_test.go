package data

import (
	"strings"
	"testing"

	"iddpm/data/imaging/turbojpeg"
)

// TestJPEGDecoder checks the option and the decoder that the set reports.
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
