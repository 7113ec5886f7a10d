package data

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestLargeFolder opens a folder of 200,000 images, which are links to a few,
// and reads some: the set needs memory only for its names.
func TestLargeFolder(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 200,000 files")
	}
	const folders, each, images = 200, 1000, 8
	dir := t.TempDir()
	for i := range images {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), numbered(i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set := filepath.Join(dir, "set")
	for f := range folders {
		sub := filepath.Join(set, fmt.Sprintf("class%03d", f))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for k := range each {
			from := filepath.Join(dir, fmt.Sprint((f*each+k)%images))
			if err := os.Link(from, filepath.Join(sub, fmt.Sprintf("%05d.png", k))); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := heap()
	ds := open(t, set, Options{ImageSize: 4, ClassCond: true, CacheBytes: -1})
	if ds.Len() != folders*each || ds.NumClasses() != folders {
		t.Fatalf("%d images of %d classes", ds.Len(), ds.NumClasses())
	}
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("the opened set takes %d bytes", grown)
	}
	loaded(t, ds, LoaderOptions{BatchSize: 64, Seed: 1}, 100)
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("after 100 batches the set takes %d bytes", grown)
	}
	if pixels, label, err := ds.Image(123456); err != nil || pixels[0] != 123456%images || label != 123 {
		t.Errorf("image 123456 is number %v of class %d (%v)", pixels[:1], label, err)
	}
}

// heap returns the bytes in use once garbage is collected.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
