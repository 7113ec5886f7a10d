package data

import (
	"bytes"
	"errors"
	"image/color"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"iddpm/data/imaging"
)

func names(ds *Dataset) []string {
	var all []string
	for i := range ds.Len() {
		all = append(all, ds.ImageName(i))
	}
	return all
}

func labels(ds *Dataset) []int64 {
	var all []int64
	for i := range ds.Len() {
		all = append(all, ds.Label(i))
	}
	return all
}

func TestOrderOfNames(t *testing.T) {
	img := numbered(7)
	files := map[string][]byte{
		"b.png": img, "a/2.PNG": img, "a/10.png": img, "a.png": img, "a-1.png": img,
		"Z.png": img, "a/sub/x.png": img, "notes.txt": nil, "a/._10.png": nil,
	}
	// Python's sorted(os.listdir()) at every level: '-' < '.' and "a" < "a-1.png".
	want := []string{"Z.png", "a/10.png", "a/2.PNG", "a/sub/x.png", "a-1.png", "a.png", "b.png"}
	for what, path := range map[string]string{"folder": folder(t, files), "zip": zipped(t, files)} {
		if got := names(open(t, path, Options{})); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
}

func TestFolderWithLinks(t *testing.T) {
	dir := folder(t, map[string][]byte{"in/a.png": numbered(1)})
	elsewhere := folder(t, map[string][]byte{"b.png": numbered(2), "deep/c.png": numbered(3)})
	for from, to := range map[string]string{"in/circle": dir, "linked": elsewhere, "d.png": filepath.Join(elsewhere, "b.png")} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"d.png", "in/a.png", "linked/b.png", "linked/deep/c.png"}
	if got := names(open(t, dir, Options{})); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A pipe with an image extension is not an image; opening it would block.
func TestPipes(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.png": numbered(1)})
	pipe := filepath.Join(dir, "b.png")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	for name, to := range map[string]string{"c.png": pipe, "d.png": filepath.Join(dir, "a.png")} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	set, err := Open(dir, Options{ImageSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if set.Len() != 2 || set.ImageName(1) != "d.png" {
		t.Errorf("%d images", set.Len())
	}
	if _, err := Open(pipe, Options{}); err == nil || !strings.Contains(err.Error(), "is a pipe") {
		t.Errorf("the pipe itself: %v", err)
	}
}

func TestSingleImage(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.png": numbered(1), "b.png": numbered(2)})
	one, all := open(t, filepath.Join(dir, "b.png"), Options{}), open(t, dir, Options{})
	got, _, err := one.Image(0)
	want, _, wantErr := all.Image(1)
	if err != nil || wantErr != nil || !slices.Equal(names(one), []string{"b.png"}) || !bytes.Equal(got, want) {
		t.Errorf("%v, %v, %v", names(one), err, wantErr)
	}
}

func TestLabels(t *testing.T) {
	img := numbered(7)
	prefixed := map[string][]byte{"dog_1.png": img, "x/cat_1.png": img, "dog_2.png": img}
	nested := map[string][]byte{"set/cat/1.png": img, "set/dog/2.png": img, "set/dog/deep/3.png": img}
	plain := map[string][]byte{"1.png": img, "2.png": img}
	edm := map[string][]byte{
		"00000/img00000000.png": img, "00000/img00000001.png": img,
		"dataset.json": []byte(`{"labels": [["00000/img00000001.png", 3], ["00000/img00000000.png", 1]]}`),
	}
	edmNone := map[string][]byte{"00000/img00000000.png": img, "00001/img00001000.png": img, "dataset.json": []byte(`{"labels": null}`)}
	named := map[string][]byte{"1.png": img, "dataset.json": []byte(`{"labels": [["1.png", 1]], "class_names": ["cat", "dog"]}`)}
	csv := func(text string) string {
		return filepath.Join(folder(t, map[string][]byte{"l.csv": []byte(text)}), "l.csv")
	}
	for what, c := range map[string]struct {
		files   map[string][]byte
		how     string
		labels  []int64
		classes []string
		err     string
	}{
		"prefix":         {files: prefixed, labels: []int64{1, 1, 0}, classes: []string{"cat", "dog"}},
		"no prefix":      {files: plain, how: "prefix", labels: []int64{0, 1}, classes: []string{"1.png", "2.png"}},
		"folder, auto":   {files: nested, labels: []int64{0, 1, 1}, classes: []string{"cat", "dog"}},
		"folder, flat":   {files: plain, how: "folder", err: "1.png is in no class"},
		"nothing":        {files: plain, err: "has no classes"},
		"edm":            {files: edm, labels: []int64{1, 3}, classes: []string{"0", "1", "2", "3"}},
		"edm, prefix":    {files: edm, how: "prefix", labels: []int64{0, 1}, classes: []string{"img00000000.png", "img00000001.png"}},
		"edm, none":      {files: edmNone, err: "dataset.json: says that the images have no classes"},
		"edm, folders":   {files: edmNone, how: "folder", labels: []int64{0, 1}, classes: []string{"00000", "00001"}},
		"class names":    {files: named, labels: []int64{1}, classes: []string{"cat", "dog"}},
		"no own":         {files: plain, how: "source", err: "has no labels of its own"},
		"csv":            {files: plain, how: csv("file,class\n1,zebra\n2.png,ape\n"), labels: []int64{1, 0}, classes: []string{"ape", "zebra"}},
		"csv, numbers":   {files: plain, how: csv("1.png,2\n2.png,0\n"), labels: []int64{2, 0}, classes: []string{"0", "1", "2"}},
		"csv, missing":   {files: plain, how: csv("1.png,2\n"), err: "no label for 2.png"},
		"csv, malformed": {files: plain, how: csv("1.png,2\n2.png\n"), err: "line 2 is not NAME,CLASS"},
		"csv, gaps":      {files: plain, how: csv("1.png,2\n2.png,123456789012\n"), labels: []int64{0, 1}, classes: []string{"2", "123456789012"}},
		"csv, absent":    {files: plain, how: "absent.csv", err: "no such file"},
		"unknown":        {files: plain, how: "magic", err: "choose prefix, folder, source"},
	} {
		for kind, path := range map[string]string{"folder": folder(t, c.files), "zip": zipped(t, c.files)} {
			t.Run(what+"/"+kind, func(t *testing.T) {
				ds, err := Open(path, Options{ClassCond: true, Labels: c.how})
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Fatalf("error %v, want one with %q", err, c.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer ds.Close()
				if got := labels(ds); !slices.Equal(got, c.labels) {
					t.Errorf("labels %v, want %v", got, c.labels)
				}
				if !slices.Equal(ds.ClassNames(), c.classes) || ds.NumClasses() != len(c.classes) {
					t.Errorf("%d classes %v, want %v", ds.NumClasses(), ds.ClassNames(), c.classes)
				}
			})
		}
	}
}

// hugePNG is the beginning of a png whose header declares 4e12 pixels.
const hugePNG = "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x1e\x84\x80\x00\x1e\x84\x80\x08\x02\x00\x00\x00\x7b\x25\x63\x9b"

func TestOpenErrors(t *testing.T) {
	dir := folder(t, map[string][]byte{
		"empty/readme.txt": nil, "text/a.png": []byte("just text"), "text/b.png": numbered(1),
		"broken.zip": []byte("PK\x03\x04 and no more"), "images.rar": nil, "images.tar": nil,
		"huge/a.png": []byte(hugePNG), "cut/a.png": numbered(1)[:20], "void/a.png": nil,
	})
	for path, want := range map[string]string{
		"absent":     "does not exist",
		"empty":      "no images (jpg, jpeg, png, gif, webp, bmp) under " + filepath.Join(dir, "empty"),
		"text":       "a.png: not an image (jpg, jpeg, png, gif, webp, bmp)",
		"void":       "a.png: not an image",
		"broken.zip": "not a readable zip file",
		"huge":       "png of 2000000 x 2000000 pixels: more than",
		"cut":        "a.png: corrupt png: the file ends too early",

		"images.rar": "is neither an image",
		"images.tar": "no images (jpg, jpeg, png, gif, webp, bmp)",
	} {
		ds, err := Open(filepath.Join(dir, path), Options{})
		if err == nil {
			ds.Close()
			t.Errorf("%s: opened", path)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %q, want one line with %q", path, err, want)
		}
	}
	if _, err := Open(filepath.Join(dir, "absent"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v is not fs.ErrNotExist", err)
	}
	if _, err := Open("", Options{ImageSize: -3}); err == nil {
		t.Error("a negative image size was taken")
	}
}

func TestBadImages(t *testing.T) {
	cut := pngOf(64, 64, color.NRGBA{10, 200, 30, 255})
	files := map[string][]byte{"a.png": numbered(1), "b.png": []byte("no"), "c.png": cut[:len(cut)-30], "d.png": numbered(4)}
	dir := folder(t, files)
	ds := open(t, dir, Options{ImageSize: 4, MaxBadImages: 2})
	if ds.Len() != 3 {
		t.Fatalf("%d images, want 3 with readable headers", ds.Len())
	}
	if _, _, err := ds.Image(1); err == nil || !strings.Contains(err.Error(), "c.png") {
		t.Errorf("error %v does not name c.png", err)
	}
	if p, _, err := ds.Image(2); err != nil || p[0] != 4 {
		t.Errorf("image d: %v, %v", p, err)
	}
	bad := ds.Bad()
	if len(bad) != 1 || bad[0].Name != "b.png" || !errors.Is(bad[0].Err, imaging.ErrNotAImage) {
		t.Errorf("bad images: %v", bad)
	}
	if _, _, err := ds.Image(3); err == nil {
		t.Error("image 3 of 3 was read")
	}
	if _, err := Open(dir, Options{}); !isBad(err, 1) {
		t.Errorf("error %v, want one bad image", err)
	}
}

func isBad(err error, n int) bool {
	e := (*BadImagesError)(nil)
	return errors.As(err, &e) && len(e.Images) == n
}

func TestEmoji(t *testing.T) {
	ds := open(t, "", Options{ClassCond: true})
	want := []string{"activities", "animals-nature", "component", "flags", "food-drink", "objects", "people-body", "smileys-emotion", "symbols", "travel-places"}
	if ds.Len() != 1911 || !slices.Equal(ds.ClassNames(), want) {
		t.Fatalf("%d images of %v", ds.Len(), ds.ClassNames())
	}
	pixels, label, err := ds.Image(0)
	if err != nil || len(pixels) != 64*64*3 || label != 0 {
		t.Fatalf("%d bytes, label %d, %v", len(pixels), label, err)
	}
	if !bytes.Equal(pixels[:3], []byte{255, 255, 255}) {
		t.Errorf("the corner is %v, not white", pixels[:3])
	}
	if open(t, "", Options{}).ClassNames() != nil {
		t.Error("classes without ClassCond")
	}
}

func TestCache(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.png": numbered(5), "b.png": numbered(9)})
	for _, c := range []struct {
		bytes  int64
		cached bool
	}{{0, true}, {2 * 4 * 4 * 3, true}, {2*4*4*3 - 1, false}, {-1, false}} {
		ds := open(t, dir, Options{ImageSize: 4, CacheBytes: c.bytes})
		if ds.Cached() != c.cached {
			t.Errorf("%d bytes: cached is %v", c.bytes, ds.Cached())
		}
		for range 2 {
			p, _, err := ds.Image(1)
			if err != nil || p[7] != 9 {
				t.Fatalf("%d bytes: %v, %v", c.bytes, p, err)
			}
			p[7] = 77 // the caller's own copy
		}
	}
}

func TestFingerprint(t *testing.T) {
	one := map[string][]byte{"a_1.png": numbered(1), "b_1.png": numbered(2)}
	two := map[string][]byte{"a_1.png": numbered(1), "b_2.png": numbered(2)}
	same := open(t, folder(t, one), Options{}).Fingerprint()
	if open(t, zipped(t, one), Options{}).Fingerprint() != same {
		t.Error("a folder and a zip of it differ")
	}
	for what, ds := range map[string]*Dataset{
		"names": open(t, folder(t, two), Options{}), "size": open(t, folder(t, one), Options{ImageSize: 8}),
		"labels": open(t, folder(t, one), Options{ClassCond: true}),
	} {
		if ds.Fingerprint() == same {
			t.Errorf("other %s, same fingerprint", what)
		}
	}
}

func TestOwnSize(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.png": pngOf(7, 5, color.Gray{1}), "b.png": pngOf(9, 9, color.Gray{2})})
	ds := open(t, dir, Options{ImageSize: OwnSize})
	if w, h, err := ds.SizeOf(0); ds.ImageSize() != 5 || w != 7 || h != 5 || err != nil {
		t.Errorf("size %d, the first image %d x %d, %v", ds.ImageSize(), w, h, err)
	}
	if w, h, err := ds.SizeOf(1); w != 9 || h != 9 || err != nil {
		t.Errorf("the second image %d x %d, %v", w, h, err)
	}
	bad := folder(t, map[string][]byte{"a.png": pngOf(7, 5, color.Gray{1})[:50], "b.png": pngOf(9, 9, color.Gray{2})})
	if _, err := Open(bad, Options{ImageSize: OwnSize}); err == nil || !strings.Contains(err.Error(), "a.png") {
		t.Errorf("a first image that cannot be read: %v", err)
	}
}
