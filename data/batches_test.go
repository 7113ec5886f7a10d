package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"
)

// made reports whether pixels are those of image i of testdata/batches/make.py.
func made(pixels []byte, i, side int) bool {
	for k, v := range pixels {
		y, x, c := k/3/side, k/3%side, k%3
		if int(v) != (7*i+31*c+3*y+x)%256 {
			return false
		}
	}
	return len(pixels) == side*side*3
}

// unpacked unpacks a .tar.gz of testdata/batches and returns the folder in it.
func unpacked(t testing.TB, archive string) string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if err == io.EOF {
			return folder(t, files)
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[filepath.Base(h.Name)], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPublishedBatches(t *testing.T) {
	const dir = "testdata/batches/"
	for _, c := range []struct {
		path             string
		side, train      int
		classes          int
		named, hasNoTest bool
	}{
		{path: "cifar-10-binary.tar.gz", side: 32, train: 10, classes: 10, named: true},
		{path: "cifar-10-python.tar.gz", side: 32, train: 10, classes: 10, named: true},
		{path: "cifar-100-binary.tar.gz", side: 32, train: 10, classes: 100, named: true},
		{path: "cifar-100-python.tar.gz", side: 32, train: 10, classes: 100, named: true},
		{path: "imagenet8", side: 8, train: 30, classes: 10, hasNoTest: true},
		{path: "imagenet8npz", side: 8, train: 30, classes: 10, hasNoTest: true},
	} {
		paths := []string{dir + c.path}
		if strings.HasSuffix(c.path, ".gz") {
			paths = append(paths, unpacked(t, dir+c.path))
		}
		for _, path := range paths {
			t.Run(path, func(t *testing.T) {
				o := Options{ImageSize: c.side, ClassCond: true}
				checkMade(t, open(t, path, o), 0, c.train, c.side, c.classes, c.named)
				o.Split = "test"
				if c.hasNoTest {
					if _, err := Open(path, o); err == nil || !strings.Contains(err.Error(), "lacks its test images") {
						t.Errorf("test split: %v", err)
					}
					return
				}
				checkMade(t, open(t, path, o), 100, 3, c.side, c.classes, c.named)
			})
		}
	}
}

func checkMade(t *testing.T, ds *Dataset, first, n, side, classes int, named bool) {
	t.Helper()
	if ds.Len() != n || ds.NumClasses() != classes {
		t.Fatalf("%d images of %d classes, want %d of %d", ds.Len(), ds.NumClasses(), n, classes)
	}
	if got := ds.ClassNames()[1]; named == (got == "1") {
		t.Errorf("class 1 is named %q", got)
	}
	for i := range n {
		pixels, label, err := ds.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		if !made(pixels, first+i, side) || label != int64((3*(first+i)+1)%classes) {
			t.Errorf("image %d has wrong pixels or the wrong label %d", i, label)
		}
	}
}

// tarGz packs files as a .tar.gz.
func tarGz(t testing.TB, files map[string][]byte) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if w.Close() != nil || z.Close() != nil {
		t.Fatal("the archive could not be written")
	}
	return filepath.Join(folder(t, map[string][]byte{"a.tar.gz": b.Bytes()}), "a.tar.gz")
}

func TestBatchErrors(t *testing.T) {
	record := make([]byte, 3073)
	whole, err := os.ReadFile("testdata/batches/cifar-10-python.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	imagenet, err := os.ReadFile("testdata/batches/imagenet8/train_data_batch_1")
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(folder(t, map[string][]byte{"cut.tar.gz": whole[:len(whole)-100]}), "cut.tar.gz")
	for name, c := range map[string]struct{ path, want string }{
		"cut archive":  {cut, "the file ends too early"},
		"no archive":   {filepath.Join(folder(t, map[string][]byte{"a.tgz": []byte("hello")}), "a.tgz"), "not a readable .tar.gz"},
		"other files":  {tarGz(t, map[string][]byte{"a.png": numbered(1)}), "neither CIFAR-10 nor CIFAR-100"},
		"cut record":   {tarGz(t, map[string][]byte{"data_batch_1.bin": record[:3000]}), "data_batch_1.bin: 3000 bytes are not a whole number of records"},
		"empty file":   {tarGz(t, map[string][]byte{"data_batch_1.bin": nil}), "data_batch_1.bin: no images"},
		"few names":    {tarGz(t, map[string][]byte{"data_batch_1.bin": append([]byte{7}, record[1:]...), "batches.meta.txt": []byte("cat\ndog\n")}), "class 7 is not of 0..1"},
		"no dict":      {folder(t, map[string][]byte{"train_data_batch_1": []byte("\x80\x03K\x01.")}), "does not hold a dictionary"},
		"foreign call": {folder(t, map[string][]byte{"train_data_batch_1": []byte("cos\nsystem\n\x80\x03X\x02\x00\x00\x00ls\x85R.")}), "a call of os.system does not occur"},
		"cut pickle":   {folder(t, map[string][]byte{"train_data_batch_1": imagenet[:1000]}), "the file ends too early"},
		"empty dict":   {folder(t, map[string][]byte{"train_data_batch_1": []byte("\x80\x03}.")}), "no uint8 array data"},
	} {
		ds, err := Open(c.path, Options{})
		if err == nil {
			ds.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if _, err := Open("", Options{Split: "test"}); err == nil || !strings.Contains(err.Error(), "is not split") {
		t.Errorf("the test split of the emoji set: %v", err)
	}
	if _, err := Open("", Options{Split: "half"}); err == nil {
		t.Error("split half was taken")
	}
}

// TestFoldersNamedLikeBatches checks that folders named like CIFAR-100's files are not mistaken for it.
func TestFoldersNamedLikeBatches(t *testing.T) {
	dir := folder(t, map[string][]byte{"train/a.png": numbered(1), "test/b.png": numbered(2), "meta": nil})
	if got := names(open(t, dir, Options{})); !slices.Equal(got, []string{"test/b.png", "train/a.png"}) {
		t.Errorf("images %v", got)
	}
}

func npzFile(t testing.TB, arrays ...npy.Named) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "samples_2x4x4x3.npz")
	if err := npy.WriteNPZFile(path, arrays...); err != nil {
		t.Fatal(err)
	}
	return path
}

func array[T npy.Number](t testing.TB, values []T, shape ...int64) npy.Named {
	t.Helper()
	a, err := npy.New(values, shape...)
	if err != nil {
		t.Fatal(err)
	}
	return npy.Named{Array: a}
}

func TestNPZ(t *testing.T) {
	for _, c := range []struct {
		channels int64
		want     [2][3]byte // the first pixel of either image
	}{
		{1, [2][3]byte{{40, 40, 40}, {56, 56, 56}}},
		{3, [2][3]byte{{40, 41, 42}, {88, 89, 90}}},
		{4, [2][3]byte{{219, 219, 219}, {192, 192, 192}}}, // over white: 43 and 107 of 255 opaque
	} {
		values := make([]byte, 2*4*4*c.channels)
		for i := range values {
			values[i] = byte(40 + i)
		}
		path := npzFile(t, array(t, values, 2, 4, 4, c.channels), array(t, []int64{3, 0}))
		ds := open(t, path, Options{ImageSize: 4, ClassCond: true})
		if ds.Len() != 2 || ds.NumClasses() != 4 || ds.Label(0) != 3 {
			t.Fatalf("%d images, %d classes, label %d", ds.Len(), ds.NumClasses(), ds.Label(0))
		}
		for i := range 2 {
			pixels, _, err := ds.Image(i)
			if err != nil || [3]byte(pixels) != c.want[i] {
				t.Errorf("%d channels, image %d: %v, want %v (%v)", c.channels, i, pixels[:3], c.want[i], err)
			}
		}
	}
	images := make([]byte, 2*4*4*3)
	for want, path := range map[string]string{
		"no array arr_0":                 npzFile(t, npy.Named{Name: "x", Array: array(t, images, 2, 4, 4, 3).Array}),
		"is not uint8 [N, H, W, C]":      npzFile(t, array(t, images, 2, 48)),
		"float32 [2 4 4 3] is not uint8": npzFile(t, array(t, make([]float32, 96), 2, 4, 4, 3)),
		"empty or absurd":                npzFile(t, array(t, []byte{}, 0, 4, 4, 3)),
		"are not the labels of 2 image":  npzFile(t, array(t, images, 2, 4, 4, 3), array(t, []int64{1})),
		"class -1":                       npzFile(t, array(t, images, 2, 4, 4, 3), array(t, []int64{1, -1})),
		"arr_1: ":                        npzFile(t, array(t, images, 2, 4, 4, 3), array(t, []float64{1, 2})),
	} {
		ds, err := Open(path, Options{ClassCond: true})
		if err == nil {
			ds.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	open(t, npzFile(t, array(t, images, 2, 4, 4, 3), array(t, []float64{1, 2})), Options{}) // labels are not needed
}
