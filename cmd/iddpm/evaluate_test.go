package main

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/internal/cli"
	"iddpm/internal/madeup"
)

// madeUpFile holds random weights for all tests; TestMain removes it.
var madeUpFile string

// madeUpWeights writes madeUpFile once.
var madeUpWeights = sync.OnceValues(func() (string, error) {
	f, err := os.CreateTemp("", "iddpm-inception-*.pth")
	if err != nil {
		return "", err
	}
	madeUpFile = f.Name()
	return madeUpFile, errors.Join(f.Close(), pt.WriteFile(madeUpFile, madeup.InceptionWeights()))
})

// saveImages writes random images as sample does.
func saveImages(t *testing.T, path string, n, size int, more ...npy.Named) {
	t.Helper()
	side := int64(size)
	arrays := append([]npy.Named{{Array: &npy.Array{DType: npy.Uint8, Shape: []int64{int64(n), side, side, 3}, Data: madeup.Images(path, n, size)}}}, more...)
	if err := npy.WriteNPZFile(path, arrays...); err != nil {
		t.Fatal(err)
	}
}

func evaluateWith(t *testing.T, args ...string) outcome {
	t.Helper()
	weights, err := madeUpWeights()
	if err != nil {
		t.Fatal(err)
	}
	return iddpm(t, append([]string{"evaluate", "--inception", weights, "--device", "cpu"}, args...)...)
}

func evaluateDone(t *testing.T, args ...string) (r evaluateResult) {
	t.Helper()
	got := evaluateWith(t, append(args, "--json")...)
	if got.status != exitDone {
		t.Fatalf("%v: status %d, %s", args, got.status, got.stderr)
	}
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatalf("%v: %v: %s", args, err, got.stdout)
	}
	return r
}

// TestEvaluate checks that a set has distance 0 from itself, as images and as statistics, and
// a part of it has not.
func TestEvaluate(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("drawn [1]", 0o777); err != nil {
		t.Fatal(err)
	}
	saveImages(t, "drawn [1]/samples_6x8x8x3.npz", 6, 8)
	writeTo(t, "drawn [1]/samples_6x8x8x3.png", []byte("a sheet"))
	r := evaluateDone(t, "drawn [1]", "--save-stats", "stats.npz")
	if r.FID != nil || r.SFID != nil || r.Precision != nil || r.Ref != "" || r.NumSamples != 6 || r.ImageSize != 8 || r.Stats != "stats.npz" {
		t.Errorf("without a reference: %+v", r)
	}
	if !(*r.InceptionScore > 1) || *r.InceptionScoreStd != 0 {
		t.Errorf("Inception Score %g ± %g", *r.InceptionScore, *r.InceptionScoreStd)
	}
	same := evaluateDone(t, "drawn [1]/samples_6x8x8x3.npz", "--ref", "stats.npz", "--batch-size", "4")
	if same.KID == nil || !(math.Abs(*same.KID) < 1) || !(*same.KIDStdErr >= 0) { // unbiased: of a set with itself it is below 0
		t.Errorf("with itself: KID %+v", same)
	}
	if math.Abs(*same.FID) > 1e-2 || math.Abs(*same.SFID) > 1e-2 || *same.Precision != 1 || *same.Recall != 1 || same.NumRef != 6 {
		t.Errorf("with itself: FID %g, sFID %g, precision %g, recall %g of %d", *same.FID, *same.SFID, *same.Precision, *same.Recall, same.NumRef)
	}
	part := evaluateDone(t, "drawn [1]", "--num-samples", "3", "--ref", "drawn [1]/samples_6x8x8x3.npz", "--num-ref", "5")
	if !(*part.FID > 1) || part.NumSamples != 3 || part.NumRef != 5 || part.Precision != nil {
		t.Errorf("of a part: %+v", part)
	}
	saveImages(t, "more.npz", 3, 8)
	parts := evaluateDone(t, "drawn [1]", "more.npz")
	if parts.NumSamples != 9 || !slices.Equal(parts.Samples, []string{"drawn [1]/samples_6x8x8x3.npz", "more.npz"}) {
		t.Errorf("of two files: %+v", parts)
	}
	var text strings.Builder
	if err := same.text(&text); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"samples ", "FID ", "sFID ", "KID ", "Inception Score ", "precision ", "recall "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("without %q: %s", want, text.String())
		}
	}
	if got := evaluateWith(t, "more.npz"); got.status != exitDone || !strings.Contains(got.stderr, "fewer images than features") || !strings.Contains(got.stdout, "Inception Score ") {
		t.Errorf("it does not say that three images are few: status %d, %s%s", got.status, got.stdout, got.stderr)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	saveImages(t, "ten.npz", 10, 8)
	saveImages(t, "one.npz", 1, 8)
	saveImages(t, "large.npz", 1, 16)
	numbers := func(name string, shape ...int64) npy.Named {
		n := int64(1)
		for _, side := range shape {
			n *= side
		}
		a, err := npy.New(make([]float64, n), shape...)
		if err != nil {
			t.Fatal(err)
		}
		return npy.Named{Name: name, Array: a}
	}
	write := func(path string, arrays ...npy.Named) {
		if err := npy.WriteNPZFile(path, arrays...); err != nil {
			t.Fatal(err)
		}
	}
	write("other.npz", numbers("mu", 64), numbers("sigma", 64, 64))
	write("nothing.npz", numbers("weights", 3))
	nan := numbers("mu", 2048)
	copy(nan.Array.Data, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f})
	write("nan.npz", nan, numbers("sigma", 2048, 2048))
	negative := numbers("sigma", 2048, 2048)
	copy(negative.Array.Data, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0xbf}) // -1
	write("negative.npz", numbers("mu", 2048), negative)
	skew := numbers("sigma", 2048, 2048)
	copy(skew.Array.Data[8:], []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f}) // 1, above the diagonal
	write("skew.npz", numbers("mu", 2048), skew)
	odd := &npy.Array{DType: npy.Float32, Shape: []int64{4, 2048}, Data: make([]byte, 4*4*2048)}
	copy(odd.Data, []byte{0, 0, 0xc0, 0x7f}) // NaN
	write("odd.npz", numbers("mu", 2048), numbers("sigma", 2048, 2048), npy.Named{Name: "features", Array: odd})
	write("known.npz", numbers("mu", 2048), numbers("sigma", 2048, 2048))
	if err := os.Mkdir("two", 0o777); err != nil {
		t.Fatal(err)
	}
	saveImages(t, "two/samples_1x8x8x3.npz", 1, 8)
	saveImages(t, "two/samples_2x8x8x3.npz", 2, 8)
	if err := errors.Join(os.Mkdir("run", 0o777), os.WriteFile("run/config.json", []byte("{}"), 0o666)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo("pipe.npz", 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{}, exitUsage, "iddpm evaluate SAMPLES"},
		{[]string{"none.npz"}, exitFailed, "none.npz"},
		{[]string{"s3://bucket/samples.npz"}, exitUsage, "is a URL"},
		{[]string{"run"}, exitUsage, "run is a run folder: name the samples to evaluate, as in run/samples/step-N"},
		{[]string{"two"}, exitUsage, "name one, or all parts of one set, of two/samples_1x8x8x3.npz, two/samples_2x8x8x3.npz"},
		{[]string{"ten.npz", "one.npz", "--num-samples", "3"}, exitUsage, "selects from one file"},
		{[]string{"ten.npz", "large.npz"}, exitUsage, "large.npz holds samples of 16 pixels, and those before have 8"},
		{[]string{"ten.npz", "--batch-size", "-1"}, exitUsage, "batch-size must not be negative"},
		{[]string{"ten.npz", "--num-ref", "3"}, exitUsage, "name it by --ref"},
		{[]string{"ten.npz", "--save-stats", "stats.pt"}, exitUsage, "must end in .npz"},
		{[]string{"ten.npz", "--save-stats", "one.npz"}, exitUsage, "one.npz exists"},
		{[]string{"ten.npz", "--save-stats", "/proc/none/stats.npz"}, exitFailed, "name another by --save-stats"},
		{[]string{"ten.npz", "--ref", "nowhere"}, exitFailed, "--ref: nowhere does not exist"},
		{[]string{"ten.npz", "--ref", "other.npz"}, exitFailed, "other.npz: mu has shape [64], not [2048]"},
		{[]string{"ten.npz", "--ref", "nothing.npz"}, exitFailed, `only ["weights"]`},
		{[]string{"ten.npz", "--ref", "nan.npz"}, exitFailed, "mu holds non-finite numbers"},
		{[]string{"ten.npz", "--ref", "negative.npz"}, exitFailed, "not a covariance: the variance of feature 0 is -1"},
		{[]string{"ten.npz", "--ref", "skew.npz"}, exitFailed, "it is not symmetric at 1, 0"},
		{[]string{"ten.npz", "--ref", "odd.npz"}, exitFailed, "features: they hold non-finite numbers"},
		{[]string{"ten.npz", "--ref", "known.npz", "--num-ref", "3"}, exitUsage, "--split and --num-ref need images"},
		{[]string{"one.npz", "--ref", "ten.npz"}, exitFailed, "one.npz: one image has no covariance"},
		{[]string{"ten.npz", "--ref", "one.npz"}, exitFailed, "--ref one.npz: one image has no covariance"},
		{[]string{""}, exitUsage, "empty"},
		{[]string{"ten.npz", "ten.npz"}, exitUsage, "ten.npz is named twice"},
		{[]string{"ten.npz", "--ref", "two"}, exitUsage, "name one, or all parts of one set"},
		{[]string{"ten.npz", "--ref", "pipe.npz"}, exitFailed, "a pipe or a device"},
		{[]string{"ten.npz", "--inception", "one.npz"}, exitFailed, "weights, see --inception: "},
	} {
		got := evaluateWith(t, test.args...)
		if got.status != test.status || !strings.Contains(got.stderr, test.want) || got.stdout != "" {
			t.Errorf("%v: status %d, want %d and %q: %s%s", test.args, got.status, test.status, test.want, got.stdout, got.stderr)
		}
	}
}

// TestEvaluateInterrupted checks that an interrupt ends the command.
func TestEvaluateInterrupted(t *testing.T) {
	t.Chdir(t.TempDir())
	saveImages(t, "ten.npz", 10, 8)
	weights, err := madeUpWeights()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	got := iddpmWith(ctx, nil, "evaluate", "ten.npz", "--inception", weights, "--device", "cpu", "--save-stats", "stats.npz")
	if got.status != exitInterrupted || cli.Exists("stats.npz") {
		t.Errorf("status %d, %s", got.status, got.stderr)
	}
}
