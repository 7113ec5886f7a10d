package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"
	"gonum.org/v1/gonum/stat"

	"iddpm/checkpoint"
)

// sampled is the result of sample, with the arrays of its file.
type sampled struct {
	sampleResult
	pixels []byte
	labels []int64
}

func sample(t *testing.T, args ...string) sampled {
	t.Helper()
	got := iddpm(t, append([]string{"sample", "--device", "cpu", "--precision", "fp32", "--threads", "1", "--json"}, args...)...)
	var d sampled
	if err := json.Unmarshal([]byte(got.stdout), &d.sampleResult); err != nil || got.status != exitDone {
		t.Fatalf("%v: status %d, %s", args, got.status, got.stderr)
	}
	arrays, err := npy.ReadNPZ(d.Samples)
	if err != nil {
		t.Fatal(err)
	}
	d.pixels = arrays["arr_0"].Data
	if arrays["arr_1"] != nil {
		if d.labels, err = arrays["arr_1"].Int64s(); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func tinyRun(t *testing.T, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if got := iddpm(t, trainTiny(dir, append([]string{"--steps", "2"}, args...)...)...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	return dir
}

// TestSamplesDoNotDependOnBatch allows for the rounding of sums in other blocks.
func TestSamplesDoNotDependOnBatch(t *testing.T) {
	run := tinyRun(t, "--learn-sigma")
	for _, sampler := range [][]string{nil, {"--timestep-respacing", "4"}, {"--use-ddim"}, {"--use-ddim", "--eta", "0.5"}} {
		all := sample(t, append([]string{run, "--num-samples", "7", "--batch-size", "7"}, sampler...)...)
		for _, size := range []int{1, 3} {
			got := sample(t, append([]string{run, "--num-samples", "7", "--batch-size", fmt.Sprint(size)}, sampler...)...)
			far := 0
			for i, v := range got.pixels {
				if d := int(v) - int(all.pixels[i]); d < -1 || d > 1 {
					far++
				}
			}
			if len(got.pixels) != len(all.pixels) || float64(far) > 0.001*float64(len(all.pixels)) {
				t.Errorf("%v in batches of %d: %d of %d values are off by more than a grey level", sampler, size, far, len(all.pixels))
			}
		}
	}
}

// TestSampleInParts generates a set in parts by --first-sample, to the same images and classes. An
// interrupt leaves a part.
func TestSampleInParts(t *testing.T) {
	run := tinyRun(t, "--class-cond")
	for _, flags := range [][]string{nil, {"--class", "1,2,3"}, {"--use-ddim", "--eta", "0.5"}} {
		generate := func(args ...string) sampled {
			return sample(t, slices.Concat([]string{run, "--batch-size", "2"}, flags, args)...)
		}
		all, last := generate("--num-samples", "6"), generate("--first-sample", "2", "--num-samples", "4")
		if !slices.Equal(last.pixels, all.pixels[2*8*8*3:]) || !slices.Equal(last.labels, all.labels[2:]) || last.FirstSample != 2 {
			t.Errorf("%v: the last four of six are others, of classes %v and %v", flags, last.labels, all.labels)
		}
		if name := filepath.Base(last.Samples); !strings.HasPrefix(name, "samples_4x8x8x3-from-2") {
			t.Errorf("they are called %s", name)
		}
	}
	ctx := &countdown{Context: context.Background(), left: 8 + 3}
	got := iddpmWith(ctx, nil, "sample", run, "--device", "cpu", "--batch-size", "2", "--first-sample", "10", "--num-samples", "5")
	if want := "2 of 5; --first-sample 12 --num-samples 3 generates the rest"; got.status != exitSaved || !strings.Contains(got.lastLine(), want) {
		t.Errorf("status %d, without %q: %s", got.status, want, got.stderr)
	}
	for _, args := range [][]string{{"--first-sample", "-1"}, {"--first-sample", "1", "--use-ddim", "--interpolate", "1,2"}} {
		if got := iddpm(t, append([]string{"sample", run, "--device", "cpu"}, args...)...); got.status != exitUsage || !strings.Contains(got.lastLine(), "first-sample") {
			t.Errorf("%v: %d, %s", args, got.status, got.stderr)
		}
	}
}

func TestClassLabels(t *testing.T) {
	names := []string{"cat", "dog", "0", "a,b"}
	c := &checkpoint.Checkpoint{ClassNames: names}
	c.Config.Model.ClassCond, c.Config.Model.NumClasses = true, 5
	bare := &checkpoint.Checkpoint{Config: c.Config, Bare: true}
	numbered := &checkpoint.Checkpoint{Config: c.Config, ClassNames: []string{"10", "20"}}
	counted := &checkpoint.Checkpoint{Config: c.Config, ClassNames: []string{"0", "1"}}
	for _, test := range []struct {
		text string
		c    *checkpoint.Checkpoint
		want []int64
		err  string
	}{
		{"", c, nil, ""},
		{"dog", c, []int64{1}, ""},
		{"dog, cat,4", c, []int64{1, 0, 4}, ""},
		{"0", c, []int64{2}, ""}, // its name
		{"0", bare, []int64{0}, ""},
		{"a,b", c, []int64{3}, ""},
		{"cow", c, nil, "by name cat, dog, 0, a,b"},
		{"5", c, nil, "are 0 to 4"},
		{"-1", bare, nil, "are 0 to 4"},
		{"cat", bare, nil, "are 0 to 4"},
		{"cat", &checkpoint.Checkpoint{}, nil, "is not class-conditional"},
		{"20", numbered, []int64{1}, ""},
		{"1", numbered, nil, "are 10, 20"}, // a label, not the name of a class
		{"1", counted, []int64{1}, ""},
		{"4", counted, []int64{4}, ""}, // a row without a name
	} {
		got, err := new(sampleOptions).classSet(test.c, nil).labels(test.text)
		if !slices.Equal(got, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q: %v, %v; want %v, %s", test.text, got, err, test.want, test.err)
		}
	}
}

func TestSampleByClassName(t *testing.T) {
	run := tinyRun(t, "--class-cond")
	c, err := checkpoint.Load(run)
	if err != nil || len(c.ClassNames) < 4 {
		t.Fatalf("%v, %v", c, err)
	}
	name := c.ClassNames[3]
	byName, byNumber := sample(t, run, "--num-samples", "2", "--class", name), sample(t, run, "--num-samples", "2", "--class", "3")
	if !slices.Equal(byName.labels, []int64{3, 3}) || !bytes.Equal(byName.pixels, byNumber.pixels) {
		t.Errorf("--class %s: labels %v", name, byName.labels)
	}
}

func TestDenoisedProgress(t *testing.T) {
	run := tinyRun(t)
	d := sample(t, run, "--num-samples", "5", "--batch-size", "3", "--denoised-progress", "--timestep-respacing", "4")
	f, err := os.Open(d.Progress)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := img.Bounds().Size().String(), fmt.Sprintf("(%d,%d)", 4*10+2, 3*10+2); got != want { // the first batch's three, at four steps
		t.Errorf("the strip is %s, want %s", got, want)
	}
}

// TestInterpolate checks that the path begins and ends with the first samples of the seeds.
func TestInterpolate(t *testing.T) {
	run := tinyRun(t)
	path := sample(t, run, "--use-ddim", "--interpolate", "3,9", "--num-samples", "5", "--batch-size", "2")
	each := 8 * 8 * 3
	for _, end := range []struct {
		seed string
		at   int
	}{{"3", 0}, {"9", 4}} {
		alone := sample(t, run, "--use-ddim", "--seed", end.seed, "--num-samples", "1")
		for i, v := range alone.pixels {
			if d := int(v) - int(path.pixels[end.at*each+i]); d < -1 || d > 1 {
				t.Fatalf("image %d is not that of seed %s", end.at, end.seed)
			}
		}
	}
	if bytes.Equal(path.pixels[:each], path.pixels[4*each:]) {
		t.Error("the seeds' images are equal")
	}
}

// pngOf returns a small image, another for every i.
func pngOf(t *testing.T, size, i int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	for at := range img.Pix {
		img.Pix[at] = byte(20 + (3*at+40*i)%200)
		if at%4 == 3 {
			img.Pix[at] = 255
		}
	}
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// pngPixels returns a PNG's bytes [H, W, 3].
func pngPixels(t *testing.T, file []byte) (pixels []byte) {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			pixels = append(pixels, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return pixels
}

// TestInvert reconstructs images from their latents: at once, and from the file.
func TestInvert(t *testing.T) {
	run := tinyRun(t, "--class-cond")
	photos := t.TempDir()
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(photos, fmt.Sprintf("%d.png", i)), pngOf(t, 8, i), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	plain := sample(t, run, "--invert", photos, "--class", "1,2", "--batch-size", "2")
	if len(plain.PSNR) != 3 || plain.NumSamples != 3 || !slices.Equal(plain.labels, []int64{1, 2, 1}) {
		t.Fatalf("PSNR %v, labels %v", plain.PSNR, plain.labels)
	}
	refined := sample(t, run, "--invert", photos, "--class", "1,2", "--invert-refine", "5", "--clip-denoised", "False")
	if stat.Mean(refined.PSNR, nil) < 40 {
		t.Errorf("the PSNR with refined latents is %v dB", refined.PSNR)
	}
	for _, file := range []string{plain.Latents, plain.Inverted, plain.Grid} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	again := sample(t, run, "--latents", refined.Latents, "--use-ddim", "--clip-denoised", "False")
	if !bytes.Equal(again.pixels, refined.pixels) || !slices.Equal(again.labels, refined.labels) {
		t.Errorf("the file of latents gives other images: labels %v", again.labels)
	}
}

func TestSampleRefuses(t *testing.T) {
	run, classes := tinyRun(t), tinyRun(t, "--class-cond")
	latents := filepath.Join(t.TempDir(), "other.npz")
	other, err := npy.New(make([]float32, 3*4*4), 1, 3, 4, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := npy.WriteNPZFile(latents, npy.Named{Array: other}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"two starts", []string{run, "--latents", "a", "--invert", "b"}, exitUsage, "choose one of --invert"},
		{"one seed", []string{run, "--interpolate", "1", "--use-ddim"}, exitUsage, "needs two seeds"},
		{"no path", []string{run, "--interpolate", "1,2", "--use-ddim", "--num-samples", "1"}, exitUsage, "num-samples above 1"},
		{"interpolation with noise", []string{run, "--interpolate", "1,2", "--sampler", "ddpm"}, exitUsage, "add --use-ddim"},
		{"refine alone", []string{run, "--invert-refine", "1"}, exitUsage, "invert-refine is for --invert"},
		{"inversion with noise", []string{run, "--invert", "a", "--use-ddim", "--eta", "1"}, exitUsage, "supports neither --eta"},
		{"no images", []string{run, "--invert", "nowhere"}, exitFailed, "nowhere"},
		{"class to invert", []string{classes, "--invert", "nowhere"}, exitFailed, "nowhere"},
		{"latents without DDIM", []string{run, "--latents", latents, "--timestep-respacing", "4"}, exitUsage, "add --use-ddim"},
		{"latents with noise", []string{run, "--latents", latents, "--use-ddim", "--eta", "1"}, exitUsage, "no --eta"},
		{"no latents", []string{run, "--latents", "nowhere.npz", "--use-ddim"}, exitFailed, "--latents: stat nowhere.npz"},
		{"latents of another size", []string{run, "--latents", latents, "--use-ddim"}, exitFailed, "float32 [N, 3, 8, 8]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := iddpm(t, append([]string{"sample", "--device", "cpu"}, test.args...)...)
			if got.status != test.status || !strings.Contains(got.lastLine(), test.want) {
				t.Errorf("status %d, %s; want %d, %s", got.status, got.lastLine(), test.status, test.want)
			}
		})
	}
}
