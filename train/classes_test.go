package train

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/checkpoint"
	"iddpm/internal/madeup"
	"iddpm/runconfig"
)

// photos writes small images of these names to a new folder.
func photos(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTrainedClasses(t *testing.T) {
	for what, test := range map[string]struct {
		rows   int
		names  []string
		counts []int64
		want   []int64
	}{
		"all":                  {3, []string{"a", "b", "c"}, []int64{1, 2, 1}, []int64{0, 1, 2}},
		"a gap":                {4, []string{"0", "1", "2", "3"}, []int64{0, 2, 0, 1}, []int64{1, 3}},
		"room for more":        {9, []string{"a", "b"}, []int64{1, 1}, []int64{0, 1}},
		"an older checkpoint":  {3, []string{"a", "b", "c"}, nil, []int64{0, 1, 2}},
		"older, room for more": {4, []string{"a", "b"}, nil, []int64{0, 1}},
		"bare weights":         {3, nil, nil, []int64{0, 1, 2}},
		"without classes":      {0, nil, nil, nil},
	} {
		c := &checkpoint.Checkpoint{ClassNames: test.names, ClassCounts: test.counts}
		c.Config.Model.NumClasses = test.rows
		if got := c.TrainedClasses(); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// A checkpoint stores the number of images of each class. The log names the rule that assigns
// classes, and a resumed run keeps its classes even if another rule is now the default.
func TestClassesAreRecorded(t *testing.T) {
	c, dir := madeup.Run(), t.TempDir()
	c.Data.Dir = photos(t, "cat/IMG_0.png", "cat/IMG_1.png", "dog/IMG_0.png", ".thumbnails/IMG_0.png")
	c.Data.Labels = "prefix"
	c.Model.ClassCond, c.Model.NumClasses, c.Train.Steps = true, 2, 1
	first := train(t, c, dir)
	if !slices.Equal(first.ClassNames, []string{"IMG"}) || !slices.Equal(first.ClassCounts, []int64{3}) || !slices.Equal(first.TrainedClasses(), []int64{0}) {
		t.Errorf("classes %v, counts %v, trained %v", first.ClassNames, first.ClassCounts, first.TrainedClasses())
	}
	core, logs := observer.New(zapcore.InfoLevel)
	resumed, err := Resume(dir, func(c *runconfig.Config) error {
		c.Data.Labels = "" // as an earlier version, for which prefixes went first, noted it
		return upTo(2)(c)
	}, Run{Log: zap.New(core)})
	if last := finish(t, resumed, err); !slices.Equal(last.ClassNames, []string{"IMG"}) {
		t.Errorf("resumes with %v", last.ClassNames)
	}
	var said []string
	for _, entry := range logs.All() {
		if strings.Contains(entry.Message, "classes") || strings.Contains(entry.Message, "left out") {
			said = append(said, entry.Message)
		}
	}
	if !slices.Equal(said, []string{"left out files that are not images of the data set", "classes", "check the classes"}) {
		t.Errorf("logged %q", said)
	}
	c.Data.Dir = photos(t, "cat/0.png", "dog/0.png")
	if _, err := Resume(dir, func(own *runconfig.Config) error { own.Data = c.Data; own.Data.Labels = "folder"; return upTo(3)(own) }, Run{}); err == nil || !strings.Contains(err.Error(), "was not trained on the class cat") {
		t.Errorf("images of other classes: %v", err)
	}
}
