package imaging

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func jpegFile(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", "pillow", name))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestBothDecoders checks that the choice of decoder changes only a few grey levels: not
// which files are readable, and not the error messages.
func TestBothDecoders(t *testing.T) {
	turbo, golang := Decoder{Turbo: needTurbo(t), Orient: true}, Decoder{Orient: true}
	whole := jpegFile(t, "rgb_420.jpg")
	noEnd := whole[:len(whole)-2]
	damaged := bytes.Clone(whole)
	copy(damaged[len(damaged)/2:], "\xff\xd9\xff\xd9")
	for name, file := range map[string][]byte{
		"whole": whole, "progressive": jpegFile(t, "rgb_420_progressive.jpg"), "grey": jpegFile(t, "gray.jpg"), "CMYK": jpegFile(t, "cmyk.jpg"),
		"turned": jpegFile(t, "exif_6.jpg"), "rubbish behind": append(bytes.Clone(whole), "rubbish"...),
		"no end": noEnd, "cut": whole[:len(whole)/2], "header alone": whole[:100], "damaged": damaged, "nothing": []byte("\xff\xd8\xff"),
		"png": commonPNGs(t)["rgb (2,3)"],
	} {
		p, err1 := turbo.Decode(file)
		q, err2 := golang.Decode(file)
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
