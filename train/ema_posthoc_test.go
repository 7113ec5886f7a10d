package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/checkpoint"
	"iddpm/internal/madeup"
)

// combineAt combines the EMA of a run.
func combineAt(t *testing.T, dir string, length float64, step int) (*checkpoint.Checkpoint, checkpoint.PostHocEMA) {
	t.Helper()
	c, how, err := checkpoint.CombineEMA(dir, length, step)
	if err != nil {
		t.Fatal(err)
	}
	return c, how
}

// distance returns the norm of a - b over that of b, over all tensors, float32.
func distance(t *testing.T, a, b *pt.Dict) float64 {
	t.Helper()
	difference, norm := 0.0, 0.0
	for name, value := range b.All() {
		other, ok := a.Get(name)
		if !ok {
			t.Fatalf("%v is missing", name)
		}
		x, y := floats(other.(*pt.Tensor)), floats(value.(*pt.Tensor))
		for i := range y {
			difference += (x[i] - y[i]) * (x[i] - y[i])
			norm += y[i] * y[i]
		}
	}
	return math.Sqrt(difference / norm)
}

func floats(t *pt.Tensor) (v []float64) {
	for i := 0; i+4 <= len(t.Data); i += 4 {
		bits := uint32(t.Data[i]) | uint32(t.Data[i+1])<<8 | uint32(t.Data[i+2])<<16 | uint32(t.Data[i+3])<<24
		v = append(v, float64(math.Float32frombits(bits)))
	}
	return v
}

// TestCombineEMA reconstructs the EMAs that another run with the same weights has recorded, and
// those of the run itself. Averaging changes nothing else.
func TestCombineEMA(t *testing.T) {
	c := madeup.Run()
	c.Train.Steps, c.Train.LR = 40, 3e-3
	recorded, other := c, c
	recorded.Train.PowerEMA, recorded.Train.PowerEMAInterval = []float64{0.05, 0.10}, 2
	other.Train.PowerEMA = []float64{0.075, 0.15}
	dir := t.TempDir()
	a, b := train(t, recorded, dir), train(t, other, t.TempDir())
	sameDict(t, "model", a.Model, b.Model)
	for _, target := range []struct {
		length float64
		stored *pt.Dict
	}{{0.05, a.EMA["power-0.05"]}, {0.10, a.EMA["power-0.1"]}, {0.075, b.EMA["power-0.075"]}, {0.15, b.EMA["power-0.15"]}} {
		got, how := combineAt(t, dir, target.length, 0)
		if d := distance(t, got.Model, target.stored); !(d < 1e-3) {
			t.Errorf("length %g: distance %g from the recorded EMA, residual %g", target.length, d, how.Residual)
		}
		if raw := distance(t, a.Model, target.stored); raw < 5e-3 {
			t.Errorf("length %g: the EMA is within %g of the weights, so that the test shows nothing", target.length, raw)
		}
		if got.Step != 40 || how.Snapshots != 20 {
			t.Errorf("length %g: step %d from %d snapshots", target.length, got.Step, how.Snapshots)
		}
	}
	if got, how := combineAt(t, dir, 0.1, 31); got.Step != 31 || how.Snapshots != 15 {
		t.Errorf("step %d from %d snapshots", got.Step, how.Snapshots)
	}
}

// TestCombinedCheckpoint: the result is read as a checkpoint with the run's configuration, from
// both formats.
func TestCombinedCheckpoint(t *testing.T) {
	c := madeup.Run()
	c.Train.PowerEMA, c.Train.PowerEMAInterval = []float64{0.1}, 2
	c.Model.ClassCond, c.Model.NumClasses = true, 10
	dir := t.TempDir()
	last := train(t, c, dir)
	combined, _ := combineAt(t, dir, 0.2, 0)
	dict, err := combined.ExportPT()
	file, fileErr := combined.ExportSafetensors("")
	if err := errors.Join(err, fileErr); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ema.pt")
	if err := pt.WriteFile(path, dict); err != nil {
		t.Fatal(err)
	}
	fromPT, err := checkpoint.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "ema.safetensors")
	if err := safetensors.WriteFile(path, file); err != nil {
		t.Fatal(err)
	}
	fromSafetensors, err := checkpoint.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	defer fromSafetensors.Close()
	want, _ := json.Marshal(last.Config)
	for _, got := range []*checkpoint.Checkpoint{fromPT, fromSafetensors} {
		w, err := got.Weights("")
		if err != nil || w.Rate != "power-0.2" || w.Name != "power-function EMA of length 0.2" {
			t.Errorf("%+v, %v", w, err)
		}
		sameDict(t, "weights", combined.Model, w.Dict)
		if config, _ := json.Marshal(got.Config); !bytes.Equal(config, want) || got.Step != 6 || !slices.Equal(got.ClassNames, last.ClassNames) {
			t.Errorf("step %d, classes %v, configuration %s", got.Step, got.ClassNames, config)
		}
	}
	var noState *checkpoint.NoStateError
	if _, err := Resume(path, nil, Run{Dir: t.TempDir()}); !errors.As(err, &noState) {
		t.Errorf("resume: %v", err)
	}
}

// TestSnapshotsOfResumedRun: the snapshots of a resumed run are those of an uninterrupted one.
func TestSnapshotsOfResumedRun(t *testing.T) {
	c := madeup.Run()
	c.Train.PowerEMA, c.Train.PowerEMAInterval = []float64{0.05, 0.2}, 2
	whole, dir := t.TempDir(), t.TempDir()
	sameRun := train(t, c, whole)
	half := c
	half.Train.Steps = 4
	train(t, half, dir)
	resumed, err := Resume(dir, upTo(6), Run{})
	sameState(t, sameRun, finish(t, resumed, err))
	if steps := checkpoint.Snapshots(dir); !slices.Equal(steps, []int{2, 4, 6}) {
		t.Fatalf("snapshots of steps %v", steps)
	}
	sameFile(t, checkpoint.SnapshotFile(whole, 6), checkpoint.SnapshotFile(dir, 6))
}

// TestSnapshotsAreKept: a run that keeps its newest checkpoints keeps snapshots of all its steps.
func TestSnapshotsAreKept(t *testing.T) {
	c := madeup.Run()
	c.Train.PowerEMA, c.Train.PowerEMAInterval, c.Train.Steps, c.Train.SaveInterval, c.Train.Keep = []float64{0.1}, 1, 45, 15, 1
	dir := t.TempDir()
	train(t, c, dir)
	steps := checkpoint.Snapshots(dir)
	if len(steps) < 10 || len(steps) > 21 || steps[0] > 4 || steps[len(steps)-1] != 45 {
		t.Errorf("snapshots of steps %v", steps)
	}
}

func TestCombineEMARefuses(t *testing.T) {
	var none *checkpoint.NoSnapshotsError
	if _, _, err := checkpoint.CombineEMA(t.TempDir(), 0.1, 0); !errors.As(err, &none) {
		t.Error(err)
	}
	c := madeup.Run()
	c.Train.PowerEMA, c.Train.Steps = []float64{0.1}, 2
	dir := t.TempDir()
	train(t, c, dir)
	if _, _, err := checkpoint.CombineEMA(dir, 0.1, 1); !errors.As(err, &none) {
		t.Error(err)
	}
	if _, _, err := checkpoint.CombineEMA(dir, 0.5, 0); err == nil {
		t.Error("length 0.5: no error")
	}
	if _, err := checkpoint.Load(checkpoint.SnapshotFile(dir, 2)); err == nil {
		t.Error("a snapshot is read as a checkpoint")
	}
	if err := os.Rename(checkpoint.SnapshotFile(dir, 2), checkpoint.SnapshotFile(dir, 3)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := checkpoint.CombineEMA(dir, 0.1, 0); err == nil {
		t.Error("a renamed snapshot: no error")
	}
	if err := os.WriteFile(checkpoint.SnapshotFile(dir, 3), []byte("half"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := checkpoint.CombineEMA(dir, 0.1, 0); err == nil {
		t.Error("a damaged snapshot: no error")
	}
}
