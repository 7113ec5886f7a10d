package imaging

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"iddpm/data/imaging/turbojpeg"
)

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		if !HasExtension(name) {
			continue
		}
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Add(hugePNG())
	f.Fuzz(func(t *testing.T, file []byte) {
		if config, _, err := decodeConfig(bytes.NewReader(file), false); err != nil || config.Width*config.Height > 1<<20 {
			return
		}
		p, err := Decoder{Orient: true, Turbo: turbojpeg.Available() == nil}.Decode(file)
		if err != nil {
			return
		}
		if len(p.pix) != p.w*p.h*p.c {
			t.Fatalf("%d bytes for %d x %d x %d", len(p.pix), p.h, p.w, p.c)
		}
		const size = 8
		if err := p.Fit(make([]byte, size*size*3), size); err != nil && max(p.w, p.h) < 1<<10 {
			t.Fatal(err)
		}
	})
}
