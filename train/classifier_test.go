package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/checkpoint"
	"iddpm/internal/madeup"
	"iddpm/model"
	"iddpm/runconfig"
)

// tinyClassifier is a run of a classifier with steps of a few milliseconds.
func tinyClassifier() runconfig.Config {
	c := madeup.Run()
	c.Model.ClassCond, c.Model.NumClasses = true, 10
	c.Classifier = &model.ClassifierConfig{
		ImageSize: 8, NumClasses: 10, Width: 64, Depth: 1, ChannelMult: []float64{1, 1}, AttentionResolutions: []int{4},
		UseScaleShiftNorm: true, ResBlockUpDown: true, Pool: model.PoolAttention,
	}
	c.Eval = runconfig.EvalConfig{HoldOut: 0.02, Interval: 3, Images: 6}
	return c
}

// TestResumeClassifier: a resumed run of a classifier has the state of an uninterrupted one, to
// the bit.
func TestResumeClassifier(t *testing.T) {
	for name, change := range map[string]func(*runconfig.Config){
		"attention":  func(*runconfig.Config) {},
		"spatial":    func(c *runconfig.Config) { c.Classifier.Pool, c.Train.Microbatch = model.PoolSpatial, 3 },
		"bf16":       func(c *runconfig.Config) { c.Train.Precision = "bf16" },
		"checkpoint": func(c *runconfig.Config) { c.Model.UseCheckpoint = true },
		"clean":      func(c *runconfig.Config) { c.Train.CleanImages = true },
	} {
		t.Run(name, func(t *testing.T) {
			c := tinyClassifier()
			change(&c)
			whole := train(t, c, t.TempDir())
			half, dir := c, t.TempDir()
			half.Train.Steps = 3
			train(t, half, dir)
			resumed, err := Resume(dir, upTo(c.Train.Steps), Run{})
			sameState(t, whole, finish(t, resumed, err))
		})
	}
}

// TestClassifierLearns: a few steps on few images lower the cross-entropy, and raise both
// accuracies, which the log has by the quartile of t and for held-out images.
func TestClassifierLearns(t *testing.T) {
	c, dir := tinyClassifier(), t.TempDir()
	c.Train.Steps, c.Train.LogInterval, c.Train.CleanImages, c.Train.BatchSize = 60, 20, true, 8
	c.Data.Dir = fiveImages(t)
	c.Data.Labels = "prefix"
	c.Eval = runconfig.EvalConfig{}
	train(t, c, dir)
	text, err := os.ReadFile(filepath.Join(dir, "progress.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(string(text)), "\n")
	header := strings.Split(rows[0], ",")
	value := func(row, column string) (v float64) {
		i := slices.Index(header, column)
		if i < 0 {
			t.Fatalf("no column %s in %v", column, header)
		}
		fmt.Sscan(strings.Split(row, ",")[i], &v)
		return v
	}
	first, last := rows[1], rows[len(rows)-1]
	if a, b := value(first, "loss"), value(last, "loss"); b > a/2 {
		t.Errorf("the loss falls from %g to %g only", a, b)
	}
	if v := value(last, "acc@1"); v < 0.8 {
		t.Errorf("accuracy %g after training on five images", v)
	}
	if v := value(last, "acc@5_q0"); v != 1 {
		t.Errorf("accuracy %g among five classes", v)
	}
}

// TestClassifierIsNoDenoiser: sampling from a classifier's checkpoint is an error, and invalid
// configurations are listed.
func TestClassifierIsNoDenoiser(t *testing.T) {
	c := tinyClassifier()
	c.Train.Steps = 1
	trained := train(t, c, t.TempDir())
	if err := trained.Check(""); !errors.Is(err, checkpoint.ErrClassifier) {
		t.Errorf("Check: %v", err)
	}
	gotorch.Run(func() {
		if _, err := trained.Network("", gotorch.Device{}); !errors.Is(err, checkpoint.ErrClassifier) {
			t.Errorf("Network: %v", err)
		}
	})
	for want, change := range map[string]func(*runconfig.Config){
		"a classifier needs images of its size, 8 pixels, with its 10 classes": func(c *runconfig.Config) { c.Model.ClassCond = false },
		"8 pixels, with its 9 classes":                                         func(c *runconfig.Config) { c.Classifier.NumClasses = 9 },
		"classifier-pool":                                                      func(c *runconfig.Config) { c.Classifier.Pool = "max" },
	} {
		c := tinyClassifier()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}
