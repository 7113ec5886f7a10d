package data

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"iddpm/data/imaging"
)

// tarFile is a file of a tar.
type tarFile struct {
	name    string
	content []byte
}

func tarBytes(t testing.TB, members ...tarFile) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// parquetRow is a row of a Hugging Face data set.
type parquetRow struct {
	Image *parquetImage `parquet:"image,optional"`
	Label int64         `parquet:"label"`
	Named string        `parquet:"named"`
}

type parquetImage struct {
	Bytes []byte `parquet:"bytes,optional"`
	Path  string `parquet:"path,optional"`
}

// parquetBytes returns a file of rows of groups of 3, with metadata as Hugging Face's.
func parquetBytes(t testing.TB, classes []string, rows ...parquetRow) []byte {
	t.Helper()
	features := map[string]any{"image": map[string]string{"_type": "Image"}, "label": map[string]any{"_type": "ClassLabel", "names": classes}}
	metadata, err := json.Marshal(map[string]any{"info": map[string]any{"features": features}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := pq.NewGenericWriter[parquetRow](&b, pq.MaxRowsPerRowGroup(3), pq.Compression(&pq.Snappy), pq.KeyValueMetadata("huggingface", string(metadata)))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// idxBytes returns an idx file of bytes.
func idxBytes(elements []byte, shape ...uint32) []byte {
	b := []byte{0, 0, idxUint8, byte(len(shape))}
	for _, n := range shape {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return append(b, elements...)
}

func gzipBytes(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestShards reads the same ten images of three classes in every form, and compares
// batches with those of their folder.
func TestShards(t *testing.T) {
	classes := []string{"bird", "cat", "dog"}
	asFolder, cls, jsons := map[string][]byte{}, []tarFile{}, []tarFile{}
	var rows []parquetRow
	for i := range 10 {
		class, img := i*7%3, jpegFile(t, []string{"rgb_420.jpg", "gray.jpg", "rgb.webp"}[i%3])
		if i%2 == 0 {
			img = numbered(i)
		}
		name := fmt.Sprintf("%s_%d.%s", classes[class], i, map[bool]string{true: "png", false: "jpg"}[i%2 == 0])
		asFolder[fmt.Sprintf("%02d/%s", i, name)] = img
		key := fmt.Sprintf("%02d/%s", i, strings.TrimSuffix(name, filepath.Ext(name)))
		cls = append(cls, tarFile{key + ".cls", fmt.Appendf(nil, "%d\n", class)}, tarFile{key + filepath.Ext(name), img})
		jsons = append(jsons, tarFile{key + filepath.Ext(name), img}, tarFile{key + ".json", fmt.Appendf(nil, `{"label": %q, "size": 4}`, classes[class])})
		rows = append(rows, parquetRow{&parquetImage{img, name}, int64(class), classes[class]})
	}
	want := open(t, folder(t, asFolder), Options{ImageSize: 4, ClassCond: true, Labels: "prefix"})
	for what, files := range map[string]map[string][]byte{
		"parquet":    {"data.parquet": parquetBytes(t, classes, rows...)},
		"shards":     {"data/train-00000-of-00002.parquet": parquetBytes(t, classes, rows[:7]...), "data/train-00001-of-00002.parquet": parquetBytes(t, classes, rows[7:]...), "data/test-00000-of-00001.parquet": parquetBytes(t, classes, rows[:2]...), "logo.png": numbered(0)},
		"webdataset": {"a-000000.tar": tarBytes(t, cls[:8]...), "a-000001.tar": tarBytes(t, cls[8:]...)},
		"json":       {"a.tar": tarBytes(t, jsons...)},
	} {
		t.Run(what, func(t *testing.T) {
			ds := open(t, folder(t, files), Options{ImageSize: 4, ClassCond: true})
			if got := ds.ClassNames(); !slices.Equal(got, classes) && !slices.Equal(got, []string{"0", "1", "2"}) {
				t.Errorf("classes %v", got)
			}
			compareBatches(t, ds, want)
		})
	}
}

// compareBatches compares two epochs of shuffled, flipped batches.
func compareBatches(t *testing.T, ds, want *Dataset) {
	t.Helper()
	o := LoaderOptions{BatchSize: 3, Threads: 3, Seed: 7, Flip: true}
	a, err1 := NewLoader(ds, o)
	b, err2 := NewLoader(want, o)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	for i := range 20 {
		got, err1 := a.Next(t.Context())
		want, err2 := b.Next(t.Context())
		if err1 != nil || err2 != nil || !bytes.Equal(got.Pixels, want.Pixels) || !slices.Equal(got.Labels, want.Labels) {
			t.Fatalf("batch %d differs from that of the folder: %v, %v", i, err1, err2)
		}
	}
}

// TestShardSplits chooses files by the split that their names say.
func TestShardSplits(t *testing.T) {
	of := func(grey ...int) []byte {
		var rows []parquetRow
		for _, g := range grey {
			rows = append(rows, parquetRow{Image: &parquetImage{Bytes: numbered(g)}})
		}
		return parquetBytes(t, nil, rows...)
	}
	dir := folder(t, map[string][]byte{
		"plain_text/train-00000-of-00001.parquet": of(1, 2), "plain_text/test-00000-of-00001.parquet": of(3),
		"validation/0000.parquet": of(4, 5, 6), ".cache/x.parquet": of(9),
	})
	for split, n := range map[string]int{"": 2, "train": 2, "test": 1, "validation": 3} {
		if ds := open(t, dir, Options{Split: split}); ds.Len() != n || !strings.Contains(ds.Name(), cmp.Or(split, "train")) {
			t.Errorf("split %q: %d images of %s", split, ds.Len(), ds.Name())
		}
	}
	one := folder(t, map[string][]byte{"0000.parquet": of(1)})
	if _, err := Open(one, Options{Split: "test"}); err == nil || !strings.Contains(err.Error(), "is not split") {
		t.Errorf("a split of files that say none: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "plain_text"), Options{Split: "validation"}); err == nil || !strings.Contains(err.Error(), "no validation images") {
		t.Errorf("a split that is not there: %v", err)
	}
	for name, want := range map[string]string{
		"train-00000-of-00005.parquet": "train", "imagenet-val-000000.tar": "validation", "test/0.tar": "test", "training.parquet": "train",
		"constrained.tar": "", "latest.parquet": "", "train/shard-test.tar": "test", "a/b.tar": "",
	} {
		if got := splitOf(name); got != want {
			t.Errorf("%s is of split %q, want %q", name, got, want)
		}
	}
}

// TestShardFolders reads a folder of loose images and of shards: whichever has more.
func TestShardFolders(t *testing.T) {
	two := tarBytes(t, tarFile{"a.png", numbered(1)}, tarFile{"b.png", numbered(2)})
	for what, c := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"unpacked": {map[string][]byte{"x.tar": two, "a.png": numbered(1), "b.png": numbered(2)}, "folder"},
		"shards":   {map[string][]byte{"x.tar": two, "logo.png": numbered(1)}, "tar"},
		"other":    {map[string][]byte{"x.tar": tarBytes(t, tarFile{"readme.txt", nil}), "logo.png": numbered(1)}, "folder"},
		"broken":   {map[string][]byte{"x.tar": []byte("no tar"), "x.parquet": nil, "logo.png": numbered(1)}, "folder"},
	} {
		if ds := open(t, folder(t, c.files), Options{}); !strings.HasPrefix(ds.Name(), c.want) {
			t.Errorf("%s: %s, want a %s", what, ds.Name(), c.want)
		}
	}
	ds := open(t, folder(t, map[string][]byte{"a.tar": two, "b.tar": two, "logo.png": numbered(1)}), Options{})
	if got, want := names(ds), []string{"a.tar/a.png", "a.tar/b.png", "b.tar/a.png", "b.tar/b.png"}; !slices.Equal(got, want) {
		t.Errorf("repeated names: %v", got)
	}
	if left := ds.LeftOut(); len(left) != 1 || left[0].First != "logo.png" {
		t.Errorf("left out: %v", left)
	}
}

// TestSamples finds the image of a webdataset sample among its files.
func TestSamples(t *testing.T) {
	file := tarBytes(t,
		tarFile{"./1.json", []byte(`{}`)}, tarFile{"./1.input.png", numbered(1)}, tarFile{"./1.jpg", jpegFile(t, "gray.jpg")},
		tarFile{"./2.png", numbered(2)}, tarFile{"./2.seg.png", numbered(3)}, tarFile{"./2.txt", []byte("a caption")},
		tarFile{"__MACOSX/._2.png", numbered(4)}, tarFile{"./3.tif", nil}, tarFile{"d.d/4.PNG", numbered(4)},
	)
	ds := open(t, filepath.Join(folder(t, map[string][]byte{"a.tar": file}), "a.tar"), Options{})
	if got, want := names(ds), []string{"1.jpg", "2.png", "d.d/4.PNG"}; !slices.Equal(got, want) {
		t.Errorf("images %v, want %v", got, want)
	}
	n := 0
	for _, l := range ds.LeftOut() {
		n += l.Images
	}
	if n != 4 {
		t.Errorf("left out: %v", ds.LeftOut())
	}
}

func TestIDX(t *testing.T) {
	pixels := make([]byte, 3*2*4)
	for i := range pixels {
		pixels[i] = byte(i)
	}
	images, labels := idxBytes(pixels, 3, 2, 4), idxBytes([]byte{7, 0, 3}, 3)
	qmnist := append([]byte{0, 0, idxInt32, 2, 0, 0, 0, 3, 0, 0, 0, 2}, make([]byte, 24)...)
	qmnist[12+3], qmnist[12+8+3] = 7, 0
	qmnist[12+16+3] = 3
	for what, c := range map[string]struct {
		files map[string][]byte
		path  string
	}{
		"folder":     {map[string][]byte{"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels, "t10k-images-idx3-ubyte": images[:1]}, ""},
		"compressed": {map[string][]byte{"train-images-idx3-ubyte.gz": gzipBytes(t, images), "train-labels-idx1-ubyte.gz": gzipBytes(t, labels)}, ""},
		"both":       {map[string][]byte{"train-images-idx3-ubyte": images, "train-images-idx3-ubyte.gz": nil, "train-labels-idx1-ubyte": labels, "train-labels-idx1-ubyte.gz": nil}, ""},
		"dots":       {map[string][]byte{"train-images.idx3-ubyte": images, "train-labels.idx1-ubyte": labels}, ""},
		"file":       {map[string][]byte{"emnist-digits-train-images-idx3-ubyte.gz": gzipBytes(t, images), "emnist-digits-train-labels-idx1-ubyte": labels}, "emnist-digits-train-images-idx3-ubyte.gz"},
		"QMNIST":     {map[string][]byte{"qmnist-train-images-idx3-ubyte": images, "qmnist-train-labels-idx2-int": qmnist}, ""},
		"channels":   {map[string][]byte{"x-images-idx4-ubyte": idxBytes(pixels, 3, 2, 4, 1), "x-labels-idx1-ubyte": labels}, "x-images-idx4-ubyte"},
	} {
		ds := open(t, filepath.Join(folder(t, c.files), c.path), Options{ImageSize: 2, ClassCond: true, NumClasses: 10})
		if got := labels3(ds); !slices.Equal(got, []int64{7, 0, 3}) || ds.NumClasses() != 10 && ds.NumClasses() != 8 {
			t.Errorf("%s: labels %v of %d classes", what, got, ds.NumClasses())
		}
		if w, h, err := ds.SizeOf(2); w != 4 || h != 2 || err != nil {
			t.Errorf("%s: size %d x %d, %v", what, w, h, err)
		}
		if p, _, err := ds.Image(1); err != nil || p[0] != 9 { // the middle of 8 9 10 11, 12 ...
			t.Errorf("%s: pixels %v, %v", what, p, err)
		}
	}
}

func labels3(ds *Dataset) []int64 { return labels(ds)[:min(3, ds.Len())] }

// TestShardErrors names what is wrong with a file, and which.
func TestShardErrors(t *testing.T) {
	row := parquetRow{Image: &parquetImage{Bytes: numbered(1)}, Label: 5}
	good := parquetBytes(t, nil, row)
	images := idxBytes(make([]byte, 8), 2, 2, 2)
	tarred := tarBytes(t, tarFile{"a.png", numbered(1)}, tarFile{"a.cls", []byte("x")}, tarFile{"b.png", numbered(2)})
	for what, c := range map[string]struct {
		files map[string][]byte
		path  string
		want  string
	}{
		"cut parquet":    {map[string][]byte{"a.parquet": good[:len(good)/2]}, "", "a.parquet: not a readable Parquet file: it does not end as a Parquet file"},
		"empty parquet":  {map[string][]byte{"a.parquet": nil}, "a.parquet", "a.parquet"},
		"no row":         {map[string][]byte{"a.parquet": parquetBytes(t, nil)}, "", "it holds no images"},
		"wrong label":    {map[string][]byte{"a.parquet": parquetBytes(t, []string{"cat"}, row)}, "", "a.parquet: row 0: class 5 is not of 0..0"},
		"other classes":  {map[string][]byte{"a.parquet": good, "b.parquet": parquetBytes(t, []string{"cat"}, row)}, "", "b.parquet: its classes are cat"},
		"path alone":     {map[string][]byte{"a.parquet": parquetBytes(t, nil, parquetRow{Image: &parquetImage{Path: "x.png"}})}, "", "embed the images in the file"},
		"text":           {map[string][]byte{"a.parquet": parquetBytes(t, nil, parquetRow{Image: &parquetImage{Bytes: []byte("text")}})}, "", "not an image"},
		"cut tar":        {map[string][]byte{"a.tar": tarred[:530]}, "a.tar", "a.tar: not a readable tar file"},
		"no tar":         {map[string][]byte{"a.tar": bytes.Repeat([]byte("x"), 1024)}, "a.tar", "not a readable tar file"},
		"empty tar":      {map[string][]byte{"a.tar": tarBytes(t)}, "a.tar", "no images (jpg"},
		"no label":       {map[string][]byte{"a.tar": tarred}, "", "b.png: the sample has neither a .cls nor a .json"},
		"cut idx":        {map[string][]byte{"train-images-idx3-ubyte": images[:20]}, "", "train-images-idx3-ubyte: the file is cut short"},
		"huge idx":       {map[string][]byte{"train-images-idx3-ubyte": idxBytes(nil, 1<<31, 1<<31, 1<<31)}, "", "the file is cut short or corrupt"},
		"no idx":         {map[string][]byte{"train-images-idx3-ubyte": []byte("text of a page")}, "", "not an idx file"},
		"no gzip":        {map[string][]byte{"train-images-idx3-ubyte.gz": images}, "", "not a readable .gz"},
		"no idx labels":  {map[string][]byte{"train-images-idx3-ubyte": images}, "", "train-labels-idx1-ubyte"},
		"few idx labels": {map[string][]byte{"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": idxBytes([]byte{1}, 1)}, "", "1 labels for 2 images"},
		"two idx":        {map[string][]byte{"a-train-images-idx3-ubyte": images, "b-train-images-idx3-ubyte": images}, "", "several sets of train images"},
	} {
		ds, err := Open(filepath.Join(folder(t, c.files), c.path), Options{ImageSize: 4, ClassCond: true})
		if err == nil {
			ds.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", what, err, c.want)
		}
	}
}

// TestBadRows tolerates rows that are not images.
func TestBadRows(t *testing.T) {
	rows := []parquetRow{{Image: &parquetImage{Bytes: numbered(1)}}, {}, {Image: &parquetImage{Bytes: []byte("text")}}, {Image: &parquetImage{Bytes: numbered(2)}}}
	dir := folder(t, map[string][]byte{"a.parquet": parquetBytes(t, nil, rows...)})
	ds := open(t, dir, Options{ImageSize: 4, MaxBadImages: 2})
	var bad []string
	for _, b := range ds.Bad() {
		bad = append(bad, b.Name)
	}
	if want := []string{"a.parquet/00000001", "a.parquet/00000002"}; !slices.Equal(bad, want) || ds.Len() != 2 {
		t.Errorf("%d images, bad: %v", ds.Len(), bad)
	}
	if _, err := Open(dir, Options{ImageSize: 4}); err == nil || !strings.Contains(err.Error(), "a.parquet/00000001: the row has no bytes") {
		t.Errorf("without tolerance: %v", err)
	}
}

func FuzzTar(f *testing.F) {
	f.Add(tarBytes(f, tarFile{"a.png", numbered(1)}, tarFile{"a.cls", []byte("3")}, tarFile{"b.jpg", nil}, tarFile{"b.json", []byte(`{"label": 3}`)}))
	f.Add(tarBytes(f, tarFile{"a/b.seg.png", numbered(1)}, tarFile{"a/b.jpg", numbered(2)}, tarFile{"a/b.json", []byte(`{"cls": "x"}`)}))
	f.Add(tarBytes(f))
	f.Fuzz(func(t *testing.T, file []byte) {
		openFuzzed(t, "a.tar", file)
	})
}

func FuzzParquet(f *testing.F) {
	row := parquetRow{Image: &parquetImage{numbered(1), "a.png"}, Label: 2, Named: "x"}
	f.Add(parquetBytes(f, []string{"a", "b", "c"}, row, row, row, row))
	f.Add(parquetBytes(f, nil, parquetRow{}))
	f.Fuzz(func(t *testing.T, file []byte) {
		openFuzzed(t, "a.parquet", file)
	})
}

func FuzzIDX(f *testing.F) {
	f.Add(idxBytes(make([]byte, 24), 2, 3, 4))
	f.Add(idxBytes(make([]byte, 24), 2, 2, 2, 3))
	f.Add([]byte{0, 0, idxInt32, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, file []byte) {
		openFuzzed(t, "train-images-idx3-ubyte", file)
		if labels, err := readIDXLabels(&blob{r: bytes.NewReader(file), size: int64(len(file))}); err == nil && len(labels) > len(file) {
			t.Fatalf("%d labels in %d bytes", len(labels), len(file))
		}
	})
}

// openFuzzed opens a file, its labels and some images.
func openFuzzed(t *testing.T, name string, file []byte) {
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := openSource(path, "")
	if err != nil {
		return
	}
	defer c.Close()
	if c.count() < 1 || c.name(0) == "" {
		t.Fatalf("%d images, the first %q", c.count(), c.name(0))
	}
	own, _, err := c.ownLabels()
	if err == nil && own != nil && len(own.labels) != c.count() {
		t.Fatalf("%d images, %d labels", c.count(), len(own.labels))
	}
	for i := range min(c.count(), 10) {
		if c.check(i) == nil {
			_, _ = c.load(i, imaging.Decoder{})
		}
	}
}
