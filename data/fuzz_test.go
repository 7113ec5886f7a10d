package data

import (
	"bytes"
	"image/color"
	"os"
	"path/filepath"
	"testing"
)

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/pillow/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		if !isPicture(name) {
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
		if config, _, err := decodeConfig(bytes.NewReader(file)); err != nil || config.Width*config.Height > 1<<20 {
			return
		}
		p, err := decoding{orient: true}.decode(file)
		if err != nil {
			return
		}
		if len(p.pix) != p.w*p.h*p.c {
			t.Fatalf("%d bytes for %d x %d x %d", len(p.pix), p.h, p.w, p.c)
		}
		const size = 8
		if err := fit(make([]byte, size*size*3), p, size); err != nil && max(p.w, p.h) < 1<<10 {
			t.Fatal(err)
		}
	})
}

func FuzzDatasetJSON(f *testing.F) {
	for _, seed := range []string{
		`{"labels": [["00000/img00000000.png", 3], ["a.png", 1]]}`, `{"labels": null}`, `{}`, `[]`, ``,
		`{"labels": [["a.png", 1]], "class_names": ["cat", "dog"]}`, `{"labels": [["a.png", 7]], "class_names": ["cat"]}`,
		`{"labels": [["a.png", [0.5, 1]]]}`, `{"labels": [["a.png", 99999999999999999999]]}`, `{"labels": [[1, 2], []]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		labels, names, err := parseDatasetJSON(file)
		if err != nil {
			return
		}
		for name, label := range labels {
			if label < 0 || label >= maxClasses || names != nil && label >= int64(len(names)) {
				t.Errorf("label %d of %q passed", label, name)
			}
		}
	})
}

func FuzzZip(f *testing.F) {
	f.Add(zipBytes(f, map[string][]byte{"a_1.png": numbered(1), "b/c.png": numbered(2)}))
	f.Add(zipBytes(f, map[string][]byte{"a.png": pngOf(2, 9, color.White), "dataset.json": []byte(`{"labels": [["a.png", 2]]}`)}))
	f.Add(zipBytes(f, map[string][]byte{"readme.txt": nil}))
	f.Fuzz(func(t *testing.T, file []byte) {
		c, err := newZip(bytes.NewReader(file), int64(len(file)), "fuzzed", func() error { return nil })
		if err != nil {
			return
		}
		if c.count() == 0 || c.labels != nil && len(c.labels) != c.count() {
			t.Fatalf("%d pictures, %d labels", c.count(), len(c.labels))
		}
		for i := range min(c.count(), 10) {
			if c.check(i) == nil {
				_, _ = c.load(i, decoding{})
			}
		}
	})
}
