package train

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iddpm/checkpoint"
	"iddpm/internal/madeup"
	"iddpm/runconfig"
	"iddpm/train/metrics"
)

func TestBest(t *testing.T) {
	nan := math.NaN()
	type row struct {
		step  int
		value float64
	}
	for _, test := range []struct {
		metric, column string
		rows           []row
		want           []int // steps of a new best
	}{
		{"bpd", EvalBPD, []row{{2, 5}, {4, 6}, {6, 4}, {8, 4}, {10, nan}, {12, 3}}, []int{2, 6, 12}},
		{"bpd", "loss", []row{{4, 1}}, nil},
		{"", EvalBPD, []row{{4, 1}}, nil},
		// Means over four steps: 4, 5 and 3.
		{"loss", "loss", []row{{2, 1}, {4, 7}, {6, 5}, {8, 5}, {10, 0.5}, {12, 5.5}}, []int{4, 12}},
		{"loss", "loss", []row{{2, nan}, {4, 7}, {8, 9}}, []int{8}},
	} {
		b := newBest(runconfig.Options{KeepBest: test.metric, SaveInterval: 4})
		var got []int
		for _, r := range test.rows {
			b.add(metrics.Row{Step: r.step, Values: []metrics.Value{{Name: test.column, Value: r.value}}})
			if b.improved {
				got, b.improved = append(got, r.step), false
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s of %v: best at steps %v, want %v", test.metric, test.rows, got, test.want)
		}
	}
}

// A run keeps the checkpoint of its best evaluation, also when it is stopped and resumed. It is
// neither the newest one nor one of those that Keep counts.
func TestKeepBest(t *testing.T) {
	c := madeup.Run()
	c.Eval = runconfig.EvalConfig{HoldOut: 0.05, Interval: 1, Images: 2, Respacing: "5"}
	c.Train.KeepBest, c.Train.SaveInterval, c.Train.Keep, c.Train.LR = "bpd", 1, 1, 3e-2
	whole := filepath.Join(t.TempDir(), "whole")
	if last := train(t, c, whole); last.Step != 6 || filepath.Base(last.Path) == bestName {
		t.Errorf("the newest checkpoint is %s", last.Path)
	}
	dir := filepath.Join(t.TempDir(), "halves")
	half := c
	half.Train.Steps = 3
	train(t, half, dir)
	resumed, err := Resume(dir, upTo(6), Run{})
	finish(t, resumed, err)

	steps, bits := evaluations(t, whole)
	want := steps[slices.Index(bits, slices.Min(bits))]
	var found [2]*checkpoint.Checkpoint
	for i, run := range []string{whole, dir} {
		if found[i], err = checkpoint.Load(filepath.Join(run, checkpoint.Dir, bestName)); err != nil || found[i].Step != want {
			t.Fatalf("%s: best is %+v, %v, want step %d of %v", run, found[i], err, want, bits)
		}
		if left := checkpoint.Files(run); len(left) != 1 {
			t.Errorf("%s holds %v", run, left)
		}
	}
	sameState(t, found[0], found[1])
}

func TestKeepBestNeedsMetric(t *testing.T) {
	for name, want := range map[string]string{"bpd": "set eval-interval", "kid": "eval-metric kid", "accuracy": "is not one of"} {
		c := madeup.Run()
		c.Train.KeepBest = name
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
