package data

import (
	"bytes"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/data/imaging"
)

func FuzzDatasetJSON(f *testing.F) {
	for _, seed := range []string{
		`{"labels": [["00000/img00000000.png", 3], ["a.png", 1]]}`, `{"labels": null}`, `{}`, `[]`, ``,
		`{"labels": [["a.png", 1]], "class_names": ["cat", "dog"]}`, `{"labels": [["a.png", 7]], "class_names": ["cat"]}`,
		`{"labels": [["a.png", [0.5, 1]]]}`, `{"labels": [["a.png", 99999999999999999999]]}`, `{"labels": [[1, 2], []]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		d, err := parseDatasetJSON(file)
		if err != nil {
			if strings.Contains(err.Error(), "Go ") {
				t.Errorf("the message shows a Go type: %v", err)
			}
			return
		}
		for name, label := range d.labels {
			if label < 0 || d.names != nil && label >= int64(len(d.names)) {
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
		own, _, err := c.ownLabels()
		if c.count() == 0 || err == nil && own != nil && len(own.labels) != c.count() {
			t.Fatalf("%d images, labels %v", c.count(), own)
		}
		for i := range min(c.count(), 10) {
			if c.check(i) == nil {
				_, _ = c.load(i, imaging.Decoder{})
			}
		}
	})
}

// FuzzBatches reads one file as each kind of published batch.
func FuzzBatches(f *testing.F) {
	for _, dir := range []string{"testdata/batches/imagenet8", "testdata/batches/imagenet8npz", unpacked(f, "testdata/batches/cifar-100-python.tar.gz")} {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			file, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(file)
		}
	}
	f.Add(make([]byte, 3073))
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, set := range batchSets() {
			of := &blob{r: bytes.NewReader(file), size: int64(len(file))}
			if set.names != "" {
				_, _ = set.classNames(of)
			}
			b := &batchReader{images: &arrays{c: 3, planar: true}}
			if set.read(b, of) != nil {
				continue
			}
			if b.none == nil && b.images.count() != len(b.labels) {
				t.Fatalf("%s: %d images, %d labels", set.title, b.images.count(), len(b.labels))
			}
			for _, i := range []int{0, b.images.count() - 1} {
				if _, err := b.images.load(i, imaging.Decoder{}); err != nil {
					t.Fatalf("%s: image %d: %v", set.title, i, err)
				}
			}
		}
	})
}

func FuzzNPZ(f *testing.F) {
	for _, arrays := range [][]npy.Named{
		{array(f, make([]byte, 96), 2, 4, 4, 3), array(f, []int64{3, 0})},
		{array(f, make([]byte, 16), 1, 4, 4, 1)},
		{array(f, make([]byte, 96), 2, 48)},
	} {
		var b bytes.Buffer
		if err := npy.WriteNPZ(&b, arrays...); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		z, err := npy.NewNPZ(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		c, err := readNPZ(z)
		if err != nil {
			return
		}
		for _, i := range []int{0, c.count() - 1} {
			if _, err := c.load(i, imaging.Decoder{}); err != nil {
				t.Fatalf("image %d of %d: %v", i, c.count(), err)
			}
		}
	})
}
