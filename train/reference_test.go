package train

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/checkpoint"
	"iddpm/internal/madeup"
	"iddpm/runconfig"
)

// reference writes a finished run in the reference's format.
func reference(t *testing.T, c runconfig.Config) (dir string, from *checkpoint.Checkpoint) {
	t.Helper()
	dir = t.TempDir()
	from = train(t, c, t.TempDir())
	files, err := from.WriteReference(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	if want := []string{"model000003.pt", "ema_0.5_000003.pt", "ema_0.9999_000003.pt", "opt000003.pt"}; !slices.Equal(files, want) {
		t.Fatalf("it wrote %v, want %v", files, want)
	}
	return dir, from
}

func referenceConfig() runconfig.Config {
	c := madeup.Run()
	c.Train.Steps, c.Train.EMARates = 3, []float64{0.5, 0.9999}
	return c
}

// A run written in the reference's format and resumed from that equals the run itself, to the
// bit.
func TestReferenceResumes(t *testing.T) {
	c := referenceConfig()
	c.Model.ClassCond, c.Model.NumClasses = true, 12
	dir, _ := reference(t, c)
	c.Train.Steps = 5
	whole := train(t, c, t.TempDir())
	c.Model.NumClasses = 0 // read from the weights
	trainer, err := ResumeReference(filepath.Join(dir, "model000003.pt"), c, Run{Dir: filepath.Join(t.TempDir(), "run")})
	if err == nil && (trainer.Step() != 3 || filepath.Base(trainer.saver.safe) != "ckpt-000003.pt") {
		t.Errorf("resumes at step %d, with checkpoint %q", trainer.Step(), trainer.saver.safe)
	}
	sameState(t, whole, finish(t, trainer, err))
}

// TestReferenceFP16 resumes from the single vector of moments that the reference's --use_fp16
// stores.
func TestReferenceFP16(t *testing.T) {
	c := referenceConfig()
	dir, from := reference(t, c)
	var m, v []byte
	for i := range nested[*pt.Dict](t, from.Optimizer, "state").Len() {
		m = append(m, nested[*pt.Tensor](t, from.Optimizer, "state", i, "exp_avg").Data...)
		v = append(v, nested[*pt.Tensor](t, from.Optimizer, "state", i, "exp_avg_sq").Data...)
	}
	vector := func(data []byte) *pt.Tensor {
		return &pt.Tensor{DType: pt.Float32, Shape: []int64{int64(len(data) / 4)}, Data: data}
	}
	flat := new(pt.Dict)
	flat.Set(0, newDict("step", int64(3), "exp_avg", vector(m), "exp_avg_sq", vector(v)))
	path := filepath.Join(dir, "opt000003.pt")
	if err := pt.WriteFile(path, newDict("state", flat, "param_groups", []any{})); err != nil {
		t.Fatal(err)
	}
	c.Train.Steps = 5
	whole := train(t, c, t.TempDir())
	trainer, err := ResumeReference(filepath.Join(dir, "model000003.pt"), c, Run{Dir: filepath.Join(t.TempDir(), "run")})
	sameState(t, whole, finish(t, trainer, err))
	short := new(pt.Dict)
	short.Set(0, newDict("step", int64(3), "exp_avg", vector(m[4:]), "exp_avg_sq", vector(v)))
	if err := pt.WriteFile(path, newDict("state", short)); err != nil {
		t.Fatal(err)
	}
	_, err = ResumeReference(filepath.Join(dir, "model000003.pt"), c, Run{Dir: filepath.Join(t.TempDir(), "run")})
	if err == nil || !strings.Contains(err.Error(), "the state is of one parameter of shape") {
		t.Errorf("too few moments: %v", err)
	}
}

// With only the model file, EMAs start as copies of the weights and AdamW's moments at zero.
func TestReferenceWithoutSiblings(t *testing.T) {
	c := referenceConfig()
	dir, from := reference(t, c)
	for _, name := range []string{"ema_0.5_000003.pt", "opt000003.pt"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	trainer, err := ResumeReference(filepath.Join(dir, "model000003.pt"), c, Run{Dir: filepath.Join(t.TempDir(), "run")})
	got := finish(t, trainer, err) // the run has no steps left
	sameDict(t, "model", from.Model, got.Model)
	sameDict(t, "ema 0.5", from.Model, got.EMA["0.5"])
	sameDict(t, "ema 0.9999", from.EMA["0.9999"], got.EMA["0.9999"])
}

func TestReferenceErrors(t *testing.T) {
	c := referenceConfig()
	dir, from := reference(t, c)
	run := Run{Dir: filepath.Join(t.TempDir(), "run")}
	c.Model.NumChannels = 64
	if _, err := ResumeReference(filepath.Join(dir, "model000003.pt"), c, run); err == nil || !strings.Contains(err.Error(), "do not match the network") {
		t.Errorf("another network: %v", err)
	}
	if _, err := ResumeReference(from.Path, c, run); err == nil || !strings.Contains(err.Error(), "is not a model file of the reference") {
		t.Errorf("a checkpoint of ours: %v", err)
	}
	if _, err := os.Stat(run.Dir); !os.IsNotExist(err) {
		t.Errorf("a failure leaves the run folder: %v", err)
	}
	if checkpoint.IsReference(from.Path) || !checkpoint.IsReference(filepath.Join(dir, "model000003.pt")) || checkpoint.IsReference(filepath.Join(dir, "model000004.pt")) {
		t.Error("IsReference is wrong")
	}
}

// nested returns the value at the end of a path of keys.
func nested[T any](t *testing.T, dict *pt.Dict, keys ...any) T {
	t.Helper()
	var value any = dict
	for _, key := range keys {
		dict, ok := value.(*pt.Dict)
		if !ok {
			t.Fatalf("there is no %v", keys)
		}
		value, _ = dict.Get(key)
	}
	found, ok := value.(T)
	if !ok {
		t.Fatalf("%v is %v", keys, value)
	}
	return found
}

// newDict returns a dict of keys and values.
func newDict(pairs ...any) *pt.Dict {
	d := new(pt.Dict)
	for i := 0; i < len(pairs); i += 2 {
		d.Set(pairs[i], pairs[i+1])
	}
	return d
}
