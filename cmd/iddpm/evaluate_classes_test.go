package main

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/internal/madeup"
	"iddpm/model"
)

// classified runs evaluate without weights of the Inception network.
func classified(t *testing.T, args ...string) (r evaluateResult) {
	t.Helper()
	got := iddpm(t, append([]string{"evaluate", "--device", "cpu", "--json"}, args...)...)
	if got.status != exitDone {
		t.Fatalf("%v: status %d, %s", args, got.status, got.stderr)
	}
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestClassAccuracyCounts evaluates every image once with each of ten labels: a classifier is right
// once, and five times among its likeliest five classes, whatever its weights.
func TestClassAccuracyCounts(t *testing.T) {
	const images, classes = 3, 10
	classifier := append([]string{"--classifier", writeSmallClassifier(t, model.PoolAttention)}, strings.Fields(smallClassifier)...)
	pixels := madeup.Images("accuracy", images, 16)
	var all []byte
	var labels []int64
	for i := range images {
		for label := range int64(classes) {
			all = append(all, pixels[i*len(pixels)/images:(i+1)*len(pixels)/images]...)
			labels = append(labels, label)
		}
	}
	array, err := npy.New(all, images*classes, 16, 16, 3)
	if err != nil {
		t.Fatal(err)
	}
	r := classified(t, append(classifier, writeArrays(t, "each.npz", array, labels...), "--batch-size", "7")...)
	if r.InceptionScore != nil || r.FID != nil || r.NumSamples != images*classes {
		t.Errorf("%+v", r)
	}
	c := r.Classes
	if c == nil || c.Accuracy != 1./classes || c.Top5 == nil || *c.Top5 != 5./classes || math.Abs(c.StdErr-math.Sqrt(.1*.9/30)) > 1e-12 || len(c.Classes) != classes {
		t.Fatalf("%+v", c)
	}
	sum := 0.0
	for label, one := range c.Classes {
		sum += one.Accuracy
		if one.Class != fmt.Sprint(label) || one.NumSamples != images {
			t.Errorf("class %d: %+v", label, one)
		}
	}
	if math.Abs(sum-1) > 1e-12 {
		t.Errorf("the accuracies of the classes add up to %g", sum)
	}
}

// writeGreys writes images of one grey level a class, in folders of their classes.
func writeGreys(t *testing.T, levels map[string]uint8) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for class, level := range levels {
		if err := os.Mkdir(filepath.Join(dir, class), 0o777); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			f, err := os.Create(filepath.Join(dir, class, fmt.Sprintf("%d.png", i)))
			if err != nil {
				t.Fatal(err)
			}
			grey := image.NewUniform(color.Gray{level + uint8(i)})
			if err := png.Encode(f, square{grey}); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// square is a uniform image of 16 x 16 pixels.
type square struct{ *image.Uniform }

func (square) Bounds() image.Rectangle { return image.Rect(0, 0, 16, 16) }

// TestClassAccuracyOfTrained trains a classifier of light and dark images: by the names of their
// folders it is right on the images that it was trained on, and wrong where they are exchanged.
func TestClassAccuracyOfTrained(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	args := strings.Fields("train --preset emoji --classifier --steps 8 --batch-size 8 --lr 1e-3 --warmup-steps 0 --ema-rate 0.5 --noised False --image-size 16 --precision fp32 --threads 1 --device cpu" + smallClassifier)
	if got := iddpm(t, append(args, "--run-dir", dir, "--data-dir", writeGreys(t, map[string]uint8{"dark": 20, "light": 230}))...); got.status != exitDone {
		t.Fatalf("status %d, %s", got.status, got.stderr)
	}
	for levels, want := range map[[2]uint8]float64{{20, 230}: 1, {230, 20}: 0} {
		images := writeGreys(t, map[string]uint8{"dark": levels[0], "light": levels[1]})
		c := classified(t, images, "--classifier", dir).Classes
		if c.Accuracy != want || c.Top5 != nil || len(c.Classes) != 2 || c.Classes[1].Class != "light" || c.Weights == "" {
			t.Errorf("%v: %+v", levels, c)
		}
	}
	small := writeArrays(t, "small.npz", smallImages(t, 2, 8), 0, 1)
	got := iddpm(t, "evaluate", small, "--classifier", dir, "--device", "cpu")
	if got.status != exitUsage || !strings.Contains(got.stderr, "is for images of 16 pixels, and the samples have 8: resize them by --image-size 16") {
		t.Errorf("small samples: status %d, %s", got.status, got.stderr)
	}
	if r := classified(t, small, "--classifier", dir, "--image-size", "16"); r.Classes == nil || r.ImageSize != 16 {
		t.Errorf("resized samples: %+v", r)
	}
}

func TestClassAccuracyMisuse(t *testing.T) {
	classifier := append([]string{"--classifier", writeSmallClassifier(t, model.PoolAttention)}, strings.Fields(smallClassifier)...)
	labelled, plain := writeArrays(t, "labelled.npz", smallImages(t, 2, 16), 0, 10), writeArrays(t, "plain.npz", smallImages(t, 2, 16))
	small := writeArrays(t, "small.npz", smallImages(t, 2, 8), 0, 1)
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{append(classifier, labelled), exitFailed, "image 1 has the label 10, and --classifier "},
		{append(classifier, plain), exitFailed, "--classifier needs the class of each sample, from an .npz of a class-conditional model or a rule by --labels"},
		{append(classifier, small), exitUsage, "is for images of 16 pixels, and the samples have 8"},
		{[]string{plain, "--classifier", tinyRun(t)}, exitFailed, "holds a denoiser, no classifier"},
		{[]string{plain, "--labels", "folder"}, exitUsage, "--labels and --classifier-ema are for --classifier"},
		{[]string{plain, "--classifier-ema", "none"}, exitUsage, "--labels and --classifier-ema are for --classifier"},
	} {
		got := iddpm(t, append([]string{"evaluate", "--device", "cpu"}, test.args...)...)
		if got.status != test.status || !strings.Contains(got.stderr, test.want) || got.stdout != "" {
			t.Errorf("%v: status %d, want %d and %q: %s%s", test.args, got.status, test.status, test.want, got.stdout, got.stderr)
		}
	}
}
