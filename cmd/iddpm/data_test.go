package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iddpm/data"
	"iddpm/internal/terminal"
)

// imageFolder creates a folder of n half-transparent images of w x h pixels, of the classes
// even and odd, with an additional bad one if bad is set.
func imageFolder(t *testing.T, n, w, h int, bad bool) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		m := image.NewNRGBA(image.Rect(0, 0, w, h))
		for at := 0; at < len(m.Pix); at += 4 {
			copy(m.Pix[at:], []byte{byte(i), byte(i >> 8), 0, 128})
		}
		var file bytes.Buffer
		if err := png.Encode(&file, m); err != nil {
			t.Fatal(err)
		}
		writeTo(t, filepath.Join(dir, fmt.Sprintf("%s_%05d.png", []string{"even", "odd"}[i%2], i)), file.Bytes())
	}
	if bad {
		writeTo(t, filepath.Join(dir, "odd_broken.png"), []byte("no image"))
	}
	return dir
}

func writeTo(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestDataPrepare(t *testing.T) {
	t.Chdir(t.TempDir())
	src := imageFolder(t, 5, 12, 9, true)
	got := iddpm(t, "data", "prepare", src, "p.zip", "--image-size", "8", "--class-cond", "--background", "#00ff00", "--max-bad-images", "1", "--json")
	var result prepareResult
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone {
		t.Fatalf("%d: %s%s", got.status, got.stdout, got.stderr)
	}
	if result.Images != 5 || result.Classes != 2 || result.Resumed != 0 || len(result.Bad) != 1 || result.Bad[0].Name != "odd_broken.png" {
		t.Errorf("%+v", result)
	}
	if !strings.Contains(got.stderr, "odd_broken.png") {
		t.Errorf("the log does not name the bad image: %s", got.stderr)
	}
	if info, err := os.Stat("p.zip"); err != nil || info.Size() != result.Bytes {
		t.Errorf("%v, %v, want %d bytes", info, err, result.Bytes)
	}
	set, err := data.Open("p.zip", data.Options{ImageSize: 8, ClassCond: true})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	// Even numbers come first: image 3 is number 1, half of it over green.
	pixels, label, err := set.Image(3)
	if err != nil || label != 1 || pixels[0] != 1 || pixels[1] != 127 || pixels[2] != 0 {
		t.Errorf("image 3 is %v of class %d, %v", pixels[:3], label, err)
	}
	if got := iddpm(t, trainTiny("a", "--data-dir", "p.zip", "--class-cond", "--steps", "1")...); got.status != exitDone {
		t.Errorf("training on it: %d, %s", got.status, got.stderr)
	}
}

// TestDataPrepareInterrupted checks that an interrupted command says that it resumes, if
// anything is packed, and does.
func TestDataPrepareInterrupted(t *testing.T) {
	t.Chdir(t.TempDir())
	src := imageFolder(t, 7, 4, 4, false)
	prepare := func(ctx context.Context, dst string) outcome {
		return iddpmWith(ctx, nil, "data", "prepare", src, dst, "--image-size", "4", "--json")
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if got := prepare(cancelled, "none.zip"); got.status != exitInterrupted || got.stdout != "" {
		t.Errorf("at once: %d, %s%s", got.status, got.stdout, got.stderr)
	}
	ctx := &afterFile{Context: context.Background(), file: "p.zip.parts/part00000000.zip"}
	got := prepare(ctx, "p.zip")
	if got.status != exitSaved || !strings.Contains(got.lastLine(), "the first 7; the same command resumes") {
		t.Fatalf("interrupted: %d, %s", got.status, got.stderr)
	}
	var result prepareResult
	got = prepare(context.Background(), "p.zip")
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || result.Resumed != 7 || result.Images != 7 {
		t.Errorf("again: %d, %s%s", got.status, got.stdout, got.stderr)
	}
	if left, _ := filepath.Glob("*.parts"); len(left) != 1 || left[0] != "none.zip.parts" {
		t.Errorf("left %v", left)
	}
}

// afterFile is a context whose Err is Canceled as soon as a file exists.
type afterFile struct {
	context.Context
	file string
}

func (c *afterFile) Err() error {
	if _, err := os.Stat(c.file); err == nil {
		return context.Canceled
	}
	return nil
}

func TestDataInfo(t *testing.T) {
	t.Chdir(t.TempDir())
	src := imageFolder(t, 5, 12, 9, true)
	got := iddpm(t, "data", "info", src, "--image-size", "4", "-o", "sheet.png", "--columns", "3", "--json", "--background", "black")
	var result dataInfoResult
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone {
		t.Fatalf("%d: %s%s", got.status, got.stdout, got.stderr)
	}
	want := fmt.Sprintf(`{"source":"folder %s","pictures":5,"sizes":[{"width":12,"height":9,"count":5}],"classes":[{"name":"even","count":3},{"name":"odd","count":2}],`+
		`"class_rule":"prefixes of file names","bad":[{"name":"odd_broken.png","cause":"not an image (jpg, jpeg, png, gif, webp, bmp)"}],"contact_sheet":"sheet.png"}`, src)
	if strings.TrimSpace(got.stdout) != want {
		t.Errorf("%s\nwant %s", got.stdout, want)
	}
	f, err := os.Open("sheet.png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sheet, err := png.Decode(f)
	if err != nil || sheet.Bounds().Size() != image.Pt(3*6+2, 2*6+2) {
		t.Fatalf("contact sheet of %v, %v", sheet.Bounds(), err)
	}
	if c := color.NRGBAModel.Convert(sheet.At(8, 2)).(color.NRGBA); c != (color.NRGBA{1, 0, 0, 255}) {
		t.Errorf("the second image is %v", c)
	}
	got = iddpm(t, "data", "info", src)
	for _, line := range []string{
		"images                    5", "       5 of 12 x 9 pixels",
		"       3  even  ########################################\n         2  odd   ###########################\n",
		"bad                       1\n  odd_broken.png: not an image",
	} {
		if !strings.Contains(got.stdout, line) {
			t.Errorf("no %q in\n%s", line, got.stdout)
		}
	}
	// Without SRC it reads the built-in set; all of it would take seconds.
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if got := iddpmWith(cancelled, nil, "data", "info"); got.status != exitInterrupted {
		t.Errorf("no SRC: %d, %s%s", got.status, got.stdout, got.stderr)
	}
}

// TestDataInfoManyClasses checks that text output truncates a long list.
func TestDataInfoManyClasses(t *testing.T) {
	r := dataInfoResult{Classes: make([]classCount, terminal.MaxListed+3)}
	for i := range r.Classes {
		r.Classes[i] = classCount{Name: fmt.Sprintf("class%02d", i), Count: i}
	}
	var text bytes.Buffer
	if err := r.text(&text); err != nil {
		t.Fatal(err)
	}
	if s := text.String(); strings.Contains(s, "class20") || !strings.Contains(s, "and 3 more, which --json lists") || !strings.Contains(s, "class00  \n") {
		t.Error(s)
	}
}

func TestDataWrongUse(t *testing.T) {
	t.Chdir(t.TempDir())
	src := imageFolder(t, 1, 4, 4, true)
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"prepare", "a"}, exitUsage, "name SRC and DST.zip, as in: iddpm data prepare SRC DST.zip"},
		{[]string{"prepare", src, "a.tar"}, exitFailed, "must end in .zip"},
		{[]string{"prepare", src, "a.zip"}, exitFailed, "odd_broken.png: not an image"},
		{[]string{"prepare", "nowhere", "a.zip"}, exitFailed, "nowhere does not exist"},
		{[]string{"prepare", src, "a.zip", "--background", "mauvish"}, exitUsage, `"mauvish" is not a colour`},
		{[]string{"prepare", src, "a.zip", "--split", "test"}, exitFailed, "is not split into train and test"},
		{[]string{"prepare", src, "nodir/a.zip"}, exitFailed, "the folder nodir does not exist"},
		{[]string{"prepare", src, "a.zip", "--image-size", "0"}, exitUsage, "image-size must be above 0"},
		{[]string{"info", src, "--image-size", "-1"}, exitUsage, "image-size must be above 0"},
		{[]string{"info", "a", "b"}, exitUsage, "name only one SRC"},
		{[]string{"info", "nowhere"}, exitFailed, "nowhere does not exist"},
		{[]string{"info", src, "-o", "sheet.jpg"}, exitUsage, "must end in .png"},
		{[]string{"info", "nowhere", "-o", "nodir/sheet.png"}, exitFailed, "the folder nodir does not exist: make it first"},
		{[]string{"info", src, "--columns", "0"}, exitUsage, "1 to 100 columns"},
		{[]string{"info", src, "--labels", "folder"}, exitFailed, "is in no class"},
		{[]string{"pack"}, exitUsage, "commands: info, prepare"},
	} {
		got := iddpm(t, append([]string{"data"}, test.args...)...)
		if got.status != test.status || !strings.Contains(got.lastLine(), test.want) || got.stdout != "" {
			t.Errorf("%v: %d, %s%s", test.args, got.status, got.stdout, got.stderr)
		}
		if left, _ := filepath.Glob("*"); len(left) > 0 {
			t.Errorf("%v left %v", test.args, left)
		}
	}
}

// TestDataPrepareReplacesNothing checks that an existing zip is overwritten only with
// --force, and the source never.
func TestDataPrepareReplacesNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	prepare := []string{"data", "prepare", imageFolder(t, 2, 4, 4, false), "p.zip", "--image-size", "4"}
	if got := iddpm(t, prepare...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{prepare, exitFailed, "p.zip exists"},
		{[]string{"data", "prepare", "p.zip", "./p.zip", "--image-size", "2", "--force"}, exitUsage, "is both source and destination"},
		{append(prepare, "--force"), exitDone, ""},
	} {
		if got := iddpm(t, test.args...); got.status != test.status || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%v: %d, %s", test.args, got.status, got.stderr)
		}
	}
}

// TestDataInfoWarnings checks that black and blank images are named.
func TestDataInfoWarnings(t *testing.T) {
	src := t.TempDir()
	dark, invisible, good := image.NewGray16(image.Rect(0, 0, 8, 8)), image.NewNRGBA(image.Rect(0, 0, 8, 8)), image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		dark.SetGray16(i%8, i/8, color.Gray16{uint16(64 * i)})
	}
	for name, m := range map[string]image.Image{"scan-1.png": dark, "scan-2.png": dark, "blank.png": invisible, "fine.png": good} {
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, name), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got := iddpm(t, "data", "info", src, "--json")
	var result dataInfoResult
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone || result.Images != 4 {
		t.Fatalf("%d: %s%s", got.status, got.stdout, got.stderr)
	}
	if w := result.Warnings; len(w) != 2 || w[0].Count != 2 || w[0].First != "scan-1.png" || !strings.Contains(w[0].Warning, "low 12 of 16 bits") ||
		w[1].Count != 1 || w[1].First != "blank.png" || !strings.Contains(w[1].Warning, "transparent") {
		t.Errorf("warnings %+v", w)
	}
	got = iddpm(t, "data", "info", src)
	if !strings.Contains(got.stdout, "warnings                  2\n         2 (scan-1.png, ...): only the low 12 of 16 bits are in use") {
		t.Errorf("no warnings in\n%s", got.stdout)
	}
}
