package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/checkpoint"
)

// superResRun trains a network that upsamples images from 8 to 16 pixels.
func superResRun(t *testing.T, args ...string) string {
	t.Helper()
	return tinyRun(t, append([]string{"--large-size", "16", "--small-size", "8", "--image-size", "16", "--attention-resolutions", "16"}, args...)...)
}

func writeArrays(t *testing.T, name string, images *npy.Array, labels ...int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	arrays := []npy.Named{{Array: images}}
	if len(labels) > 0 {
		array, err := npy.New(labels)
		if err != nil {
			t.Fatal(err)
		}
		arrays = append(arrays, npy.Named{Array: array})
	}
	if err := npy.WriteNPZFile(path, arrays...); err != nil {
		t.Fatal(err)
	}
	return path
}

func smallImages(t *testing.T, n, size int64) *npy.Array {
	t.Helper()
	pixels := make([]uint8, n*size*size*3)
	for i := range pixels {
		pixels[i] = uint8(i * 7)
	}
	array, err := npy.New(pixels, n, size, size, 3)
	if err != nil {
		t.Fatal(err)
	}
	return array
}

func TestSuperResolution(t *testing.T) {
	run := superResRun(t, "--learn-sigma", "--class-cond")
	c, err := checkpoint.Load(run)
	if err != nil || c.Config.Model.ImageSize != 16 || c.Config.Model.SmallSize != 8 {
		t.Fatalf("%+v, %v", c, err)
	}
	base := writeArrays(t, "samples.npz", smallImages(t, 3, 8), 2, 0, 1)
	all := sample(t, run, "--base-samples", base, "--batch-size", "2")
	if all.NumSamples != 3 || len(all.pixels) != 3*16*16*3 || !slices.Equal(all.labels, []int64{2, 0, 1}) {
		t.Fatalf("%d images of %d bytes, classes %v", all.NumSamples, len(all.pixels), all.labels)
	}
	one := sample(t, run, "--base-samples", base, "--batch-size", "1")
	for i, v := range one.pixels {
		if d := int(v) - int(all.pixels[i]); d < -1 || d > 1 {
			t.Fatal("an image depends on its batch")
		}
	}
	// The base images repeat with other noise and the same classes.
	more := sample(t, run, "--base-samples", base, "--num-samples", "5")
	if !slices.Equal(more.labels, []int64{2, 0, 1, 2, 0}) || bytes.Equal(more.pixels[:768], more.pixels[3*768:4*768]) {
		t.Errorf("five of three: classes %v", more.labels)
	}
	// DDIM without noise is DDIM: other images, the same each time.
	ddim := []string{run, "--base-samples", base, "--use-ddim", "--timestep-respacing", "ddim4", "--class", "1"}
	a, b := sample(t, ddim...), sample(t, ddim...)
	if a.Timesteps != 4 || !bytes.Equal(a.pixels, b.pixels) || bytes.Equal(a.pixels, all.pixels) || !slices.Equal(a.labels, []int64{1, 1, 1}) {
		t.Errorf("DDIM: %d timesteps, classes %v", a.Timesteps, a.labels)
	}
	if r := nll(t, run, "--num-samples", "2"); r.NumSamples != 2 || !(r.TotalBPD > 0) {
		t.Errorf("bits/dim: %+v", r)
	}
	got := iddpm(t, "resume", run, "--steps", "3", "--device", "cpu")
	if got.status != exitDone {
		t.Errorf("resume: %s", got.stderr)
	}
}

// TestBaseSamplesOfFolder checks that low-resolution images from a folder and from a file are the
// same to the network.
func TestBaseSamplesOfFolder(t *testing.T) {
	run := superResRun(t)
	folder := t.TempDir()
	var pixels []uint8
	for i := range 2 {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.png", i)), pngOf(t, 8, i), 0o666); err != nil {
			t.Fatal(err)
		}
		pixels = append(pixels, pngPixels(t, pngOf(t, 8, i))...)
	}
	array, err := npy.New(pixels, 2, 8, 8, 3)
	if err != nil {
		t.Fatal(err)
	}
	fromFolder := sample(t, run, "--base-samples", folder)
	fromFile := sample(t, run, "--base-samples", writeArrays(t, "base.npz", array))
	if fromFolder.NumSamples != 2 || !bytes.Equal(fromFolder.pixels, fromFile.pixels) {
		t.Errorf("%d images of the folder are not those of the file", fromFolder.NumSamples)
	}
}

// TestBaseSamplesBringClasses names the classes of images by their folders; these may be a few of
// the network's classes.
func TestBaseSamplesBringClasses(t *testing.T) {
	run := superResRun(t, "--class-cond")
	c, err := checkpoint.Load(run)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for i, class := range []string{c.ClassNames[1], c.ClassNames[3], c.ClassNames[3]} {
		writeImage(t, filepath.Join(folder, class), i)
	}
	if got := sample(t, run, "--base-samples", folder); !slices.Equal(got.labels, []int64{1, 3, 3}) {
		t.Errorf("classes %v", got.labels)
	}
	writeImage(t, filepath.Join(folder, "unheard of"), 0)
	got := iddpm(t, "sample", run, "--base-samples", folder, "--device", "cpu")
	if got.status != exitFailed || !strings.Contains(got.stderr, "was not trained on the class unheard of") {
		t.Errorf("status %d, %s", got.status, got.stderr)
	}
}

func writeImage(t *testing.T, dir string, i int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.png", i)), pngOf(t, 8, i), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestSuperResolutionByBareWeights loads the reference's weights of a super-resolution network by
// its flags. Each sample depends on its own low-resolution image.
func TestSuperResolutionByBareWeights(t *testing.T) {
	args := append([]string{superResWeights(), "--timestep_respacing", "3"}, strings.Fields(
		"--large_size 16 --small_size 8 --num_channels 32 --num_res_blocks 1 --channel-mult 1,1 --attention_resolutions 8 --learn_sigma True")...)
	generate := func(pixels *npy.Array) sampled {
		return sample(t, append(args, "--base_samples", writeArrays(t, "base.npz", pixels), "-o", t.TempDir())...)
	}
	base := smallImages(t, 2, 8)
	a, again := generate(base), generate(base)
	if a.NumSamples != 2 || a.ImageSize != 16 || !bytes.Equal(a.pixels, again.pixels) {
		t.Errorf("%d images of %d pixels", a.NumSamples, a.ImageSize)
	}
	base.Data[0] = 255 - base.Data[0] // of the first image
	b, each := generate(base), 16*16*3
	if bytes.Equal(a.pixels[:each], b.pixels[:each]) || !bytes.Equal(a.pixels[each:], b.pixels[each:]) {
		t.Error("another low-resolution image must change its own sample, and no other")
	}
}

func superResWeights() string {
	return filepath.Join("..", "..", "testdata", "golden", "model", "superres", "model.pt")
}

func TestCascade(t *testing.T) {
	first, second := tinyRun(t, "--class-cond"), superResRun(t, "--class-cond")
	dir := t.TempDir()
	both := sample(t, first, "--upsample", second, "--num-samples", "3", "--upsample-timestep-respacing", "4", "-o", dir)
	if both.ImageSize != 16 || both.Timesteps != 4 || both.NumSamples != 3 {
		t.Fatalf("%+v", both.sampleResult)
	}
	small := sample(t, first, "--num-samples", "3")
	if base, err := npy.ReadNPZ(both.Base); err != nil || !bytes.Equal(base["arr_0"].Data, small.pixels) || !slices.Equal(both.labels, small.labels) {
		t.Errorf("%s is not the sample of the first network: %v", both.Base, err)
	}
	apart := sample(t, second, "--base-samples", small.Samples, "--timestep-respacing", "4", "-o", filepath.Join(dir, "apart"))
	if !bytes.Equal(apart.pixels, both.pixels) {
		t.Error("one command generates other images than two")
	}
	last := sample(t, first, "--upsample", second, "--first-sample", "1", "--num-samples", "2", "--upsample-timestep-respacing", "4", "-o", dir)
	if !bytes.Equal(last.pixels, both.pixels[16*16*3:]) || !slices.Equal(last.labels, both.labels[1:]) {
		t.Error("the last samples differ from those of the whole set")
	}
}

// TestCascadeFlags checks that the --upsample flags act on the second network only.
func TestCascadeFlags(t *testing.T) {
	first, second := tinyRun(t), superResRun(t, "--ema-rate", "0.1,0.5")
	args := []string{first, "--upsample", second, "--num-samples", "3", "--upsample-use-ddim", "--upsample-timestep-respacing", "ddim4", "-o", t.TempDir()}
	plain := sample(t, args...)
	for _, test := range []struct {
		args []string
		same bool
	}{
		{[]string{"--upsample-batch-size", "2"}, true},
		{[]string{"--upsample-eta", "1"}, false},
		{[]string{"--upsample-ema", "none"}, false},
		{[]string{"--upsample-ema", "0.5"}, true},
	} {
		got, far := sample(t, append(slices.Clone(args), test.args...)...), false
		for i, v := range got.pixels {
			d := int(v) - int(plain.pixels[i])
			far = far || d < -1 || d > 1
		}
		if far == test.same {
			t.Errorf("%v: other images: %v", test.args, far)
		}
	}
}

// TestInterruptedCascade is interrupted between the two networks, which keeps the low-resolution
// samples.
func TestInterruptedCascade(t *testing.T) {
	first, second := tinyRun(t), superResRun(t)
	ctx := &countdown{Context: context.Background(), left: 10} // the first network is evaluated 8 times
	got := iddpmWith(ctx, nil, "sample", first, "--upsample", second, "--num-samples", "2", "--device", "cpu", "--threads", "1", "--json")
	var r sampleResult
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.status != exitSaved || r.ImageSize != 8 {
		t.Fatalf("status %d, %v: %s%s", got.status, err, got.stdout, got.stderr)
	}
	if _, err := npy.ReadNPZ(r.Samples); err != nil {
		t.Error(err)
	}
}

func TestSuperResolutionRefuses(t *testing.T) {
	plain, run := tinyRun(t), superResRun(t)
	classes, bare := superResRun(t, "--class-cond"), superResWeights()
	folder := t.TempDir()
	writeImage(t, filepath.Join(folder, "a"), 0)
	writeImage(t, filepath.Join(folder, "b"), 0)
	two := tinyRun(t, "--class-cond", "--data-dir", folder)
	good, large := writeArrays(t, "good.npz", smallImages(t, 1, 8)), writeArrays(t, "large.npz", smallImages(t, 1, 16))
	unknown := writeArrays(t, "unknown.npz", smallImages(t, 1, 8), 100000)
	for _, test := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"nothing to upsample", []string{"sample", run}, exitUsage, "name some by --base-samples"},
		{"another network", []string{"sample", plain, "--base-samples", good}, exitUsage, "is no super-resolution network"},
		{"part of the samples", []string{"sample", run, "--base-samples", good, "--first-sample", "1"}, exitUsage, "--first-sample is not for super-resolution networks"},
		{"no file", []string{"sample", run, "--base-samples", "nowhere.npz"}, exitFailed, "nowhere.npz"},
		{"no folder", []string{"sample", run, "--base-samples", "nowhere"}, exitFailed, "nowhere"},
		{"another size", []string{"sample", run, "--base-samples", large}, exitFailed, "uint8 [N, 8, 8, 3]"},
		{"no classes", []string{"sample", classes, "--base-samples", good}, exitFailed, "by --class"},
		{"unknown class", []string{"sample", classes, "--base-samples", unknown}, exitFailed, "is of class 100000"},
		{"inversion", []string{"sample", run, "--base-samples", good, "--invert", good}, exitUsage, "--invert is not for super-resolution"},
		{"cascade to another network", []string{"sample", plain, "--upsample", plain}, exitFailed, "train one by iddpm train --super-res --small-size"},
		{"cascade of classes", []string{"sample", plain, "--upsample", classes}, exitFailed, "is class-conditional, but"},
		{"half a cascade", []string{"sample", plain, "--upsample-use-ddim"}, exitUsage, "are for --upsample"},
		{"noise without DDIM", []string{"sample", plain, "--upsample", run, "--upsample-eta", "0.5"}, exitUsage, "upsample-eta is an option of DDIM"},
		{"no such average", []string{"sample", plain, "--upsample", run, "--upsample-ema", "0.1"}, exitFailed, "no EMA of decay rate 0.1"},
		{"cascade to unnamed weights", []string{"sample", plain, "--upsample", bare}, exitUsage, "by --upsample-preset"},
		{"cascade to weights of another size", []string{"sample", plain, "--upsample", bare, "--upsample-preset", "imagenet256-upsample"}, exitFailed, "upsamples images of 64"},
		{"classes numbered differently", []string{"sample", two, "--upsample", classes}, exitFailed, "number their classes differently"},
		{"not smaller", []string{"train", "--image-size", "16", "--small-size", "16"}, exitUsage, "small-size 16 must be above 0 and below"},
		{"two sizes", []string{"train", "--image-size", "16", "--large-size", "32"}, exitUsage, "two names for one size"},
		{"contradiction", []string{"train", "--super-res", "False", "--small-size", "16"}, exitUsage, "--small-size 16 makes a super-resolution model"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := iddpm(t, append(test.args, "--device", "cpu")...)
			if got.status != test.status || !strings.Contains(got.stderr, test.want) {
				t.Errorf("status %d, %s; want %d, %s", got.status, got.lastLine(), test.status, test.want)
			}
		})
	}
}

func TestSuperResolutionSummary(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	got := done(t, trainTiny(dir, "--steps", "1", "--large-size", "16", "--small-size", "8", "--image-size", "16", "--attention-resolutions", "16")...)
	if want := "iddpm sample " + dir + " --base-samples FOLDER\n"; !strings.HasSuffix(got.stdout, want) {
		t.Errorf("the summary does not end in %q:\n%s", want, got.stdout)
	}
}

// TestSuperResFlags checks the sizes; the default is the reference's 64 to 256 pixels.
func TestSuperResFlags(t *testing.T) {
	for _, test := range []struct {
		args         []string
		large, small int
	}{
		{[]string{"--super-res"}, 256, 64},
		{[]string{"--super_res", "True", "--image_size", "128"}, 128, 64},
		{[]string{"--large_size", "256", "--small_size", "32"}, 256, 32},
		{[]string{"--super-res", "False"}, 64, 0},
	} {
		got := iddpm(t, append([]string{"info", "imagenet64", "--json"}, test.args...)...)
		var r infoResult
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
			t.Fatalf("%v: %s", test.args, got.stderr)
		}
		if m := r.Config.Model; m.ImageSize != test.large || m.SmallSize != test.small {
			t.Errorf("%v: %d from %d pixels, want %d from %d", test.args, m.ImageSize, m.SmallSize, test.large, test.small)
		}
	}
	if got := iddpm(t, "info", "imagenet256-upsample"); !regexp.MustCompile(`super-res +true`).MatchString(got.stdout) {
		t.Errorf("the network is not one of super-resolution:\n%s", got.stdout)
	}
}
