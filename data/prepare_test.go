package data

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// many is a zip of n images of two classes, one of which has truncated pixels.
func many(t testing.TB, n, bad int) string {
	files := map[string][]byte{}
	for i := range n {
		file := pngOf(5, 4, color.NRGBA{byte(i), byte(i >> 8), 9, 255})
		if i == bad {
			file = file[:len(file)-30]
		}
		files[fmt.Sprintf("%05d/%s_%d.png", i, []string{"even", "odd"}[i%2], i)] = file
	}
	return zipped(t, files)
}

func TestPrepare(t *testing.T) {
	const n, bad = 1040, 1020
	src := many(t, n, bad)
	o := PrepareOptions{Options: Options{ImageSize: 3, ClassCond: true, MaxBadImages: 1}}
	whole := filepath.Join(t.TempDir(), "whole.zip")
	told := map[string]int{}
	o.Progress = func(what string, done, total int) {
		if told[what]++; done != told[what] || total != map[string]int{"packing": n, "checking": n - 1}[what] {
			t.Fatalf("progress: %s %d of %d after %d", what, done, total, told[what]-1)
		}
	}
	got, err := Prepare(t.Context(), src, whole, o)
	if err != nil {
		t.Fatal(err)
	}
	if told["packing"] != n || told["checking"] != n-1 {
		t.Errorf("progress %v", told)
	}
	if got.Images != n-1 || got.Resumed != 0 || got.Classes != 2 || len(got.Bad) != 1 || !strings.HasSuffix(got.Bad[0].Name, "_1020.png") {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(whole + ".parts"); !os.IsNotExist(err) {
		t.Errorf("the folder of parts is left: %v", err)
	}
	comparePacked(t, src, whole, bad)

	// An interruption in the second part loses only that part; the zip is the same.
	resumed := filepath.Join(t.TempDir(), "resumed.zip")
	ctx, stop := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	o.Progress = func(_ string, done, _ int) {
		if done == 1010 {
			stop(enough)
		}
	}
	_, err = Prepare(ctx, src, resumed, o)
	if left := new(UnfinishedError); !errors.Is(err, enough) || !errors.As(err, &left) || left.Packed != partLength {
		t.Fatalf("interrupted: %v", err)
	}
	if _, err := os.Stat(resumed); !os.IsNotExist(err) {
		t.Errorf("an unfinished zip has its name already: %v", err)
	}
	o.Progress = nil
	got, err = Prepare(t.Context(), src, resumed, o)
	if err != nil || got.Resumed != 1000 || got.Images != n-1 {
		t.Fatalf("resumed: %+v, %v", got, err)
	}
	if a, b := read(t, whole), read(t, resumed); !bytes.Equal(a, b) || got.Bytes != int64(len(b)) {
		t.Errorf("a resumed zip of %d bytes differs from one of %d", len(b), len(a))
	}
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func comparePacked(t *testing.T, src, packed string, bad int) {
	t.Helper()
	a := open(t, src, Options{ImageSize: 3, ClassCond: true})
	b := open(t, packed, Options{ImageSize: 3, ClassCond: true})
	if !slices.Equal(a.ClassNames(), b.ClassNames()) {
		t.Errorf("classes %v, want %v", b.ClassNames(), a.ClassNames())
	}
	if name := b.ImageName(1001); name != "00001/img00001001.png" {
		t.Errorf("image 1001 is named %s", name)
	}
	for i := range b.Len() {
		from := i
		if i >= bad {
			from++
		}
		want, wantLabel, err1 := a.Image(from)
		got, label, err2 := b.Image(i)
		if err1 != nil || err2 != nil || !bytes.Equal(got, want) || label != wantLabel {
			t.Fatalf("image %d: %v of class %d, want %v of %d (%v, %v)", i, got, label, want, wantLabel, err1, err2)
		}
	}
}

func TestPrepareWithoutClasses(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "a.zip")
	if _, err := Prepare(t.Context(), "testdata/batches/imagenet8", dst, PrepareOptions{}); err != nil {
		t.Fatal(err)
	}
	ds := open(t, dst, Options{})
	if _, _, err := ds.ownLabels(); ds.Len() != 30 || !errors.Is(err, errNoLabels) {
		t.Errorf("%d images, labels: %v", ds.Len(), err)
	}
}

func TestPrepareErrors(t *testing.T) {
	src := many(t, 3, 1)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "mine.zip.parts", "precious"), 0o755); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]struct {
		src, dst string
		o        Options
	}{
		"must end in .zip":       {src, "a.tar", Options{}},
		"does not exist":         {filepath.Join(dir, "absent"), "a.zip", Options{}},
		"odd_1.png: corrupt png": {src, "b.zip", Options{}},
		"is needed for parts":    {src, "mine.zip", Options{MaxBadImages: 1}},
		"no such file":           {src, "absent/a.zip", Options{MaxBadImages: 1}},
	} {
		_, err := Prepare(t.Context(), c.src, filepath.Join(dir, c.dst), PrepareOptions{Options: c.o})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
		if _, err := os.Stat(filepath.Join(dir, c.dst)); !os.IsNotExist(err) {
			t.Errorf("%s is there", c.dst)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "mine.zip.parts", "precious")); err != nil {
		t.Errorf("somebody else's folder was touched: %v", err)
	}
}

func TestDatasetJSONAsEDMReadsIt(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "a.zip")
	if _, err := Prepare(t.Context(), "testdata/batches/cifar-10-binary.tar.gz", dst, PrepareOptions{Options: Options{ClassCond: true}}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zipReader(t, f)
	r, err := z.Open("dataset.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var d struct{ Labels [][]any }
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		t.Fatal(err)
	}
	if len(d.Labels) != 10 || d.Labels[2][0] != "00000/img00000002.png" || d.Labels[2][1] != 7.0 {
		t.Errorf("labels %v", d.Labels)
	}
}

func TestDescribe(t *testing.T) {
	files := map[string][]byte{
		"b/cat_1.png": pngOf(10, 20, color.White), "a/dog_1.png": pngOf(8, 8, color.Black), "a/dog_2.png": pngOf(8, 8, color.Black),
		"cat_2.png": []byte("none"), "dog_3.png": pngOf(64, 64, color.White)[:90], "bird_1.png": []byte("none"),
	}
	o := DescribeOptions{Options: Options{ImageSize: 4}, Columns: 2}
	d, err := Describe(t.Context(), folder(t, files), o)
	if err != nil {
		t.Fatal(err)
	}
	if d.Images != 3 || !slices.Equal(d.Sizes, []SizeCount{{8, 8, 2}, {10, 20, 1}}) {
		t.Errorf("%d images of sizes %v", d.Images, d.Sizes)
	}
	if !slices.Equal(d.Classes, []ClassCount{{"bird", 0}, {"cat", 1}, {"dog", 2}}) {
		t.Errorf("classes %v", d.Classes)
	}
	if len(d.Bad) != 3 || d.Bad[0].Name != "bird_1.png" || d.Bad[2].Name != "dog_3.png" {
		t.Errorf("bad images %v", d.Bad)
	}
	if size := d.Sheet.Rect.Size(); size.X != 2*6+2 || size.Y != 2*6+2 {
		t.Errorf("contact sheet of %v", size)
	}
	for _, c := range []struct{ x, y, want int }{{0, 0, 128}, {2, 2, 0}, {8, 5, 0}, {5, 8, 255}, {9, 9, 128}} {
		if got := d.Sheet.NRGBAAt(c.x, c.y); int(got.R) != c.want || got.A != 255 {
			t.Errorf("contact sheet at %d, %d: %v, want %d", c.x, c.y, got, c.want)
		}
	}
	plain, err := Describe(t.Context(), folder(t, map[string][]byte{"1.png": numbered(1)}), DescribeOptions{})
	if err != nil || plain.Classes != nil {
		t.Errorf("without classes: %+v, %v", plain, err)
	}
	if _, err := Describe(t.Context(), folder(t, map[string][]byte{"1.png": nil}), DescribeOptions{}); !isBad(err, 1) {
		t.Errorf("nothing to describe: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Describe(ctx, "", DescribeOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
