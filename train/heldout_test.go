package train

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/internal/madeup"
	"iddpm/runconfig"
	"iddpm/train/metrics"
)

func evaluations(t *testing.T, dir string) (steps []int, bits []float64) {
	t.Helper()
	rows, err := metrics.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if v, ok := row.Get(EvalBPD); ok {
			steps, bits = append(steps, row.Step), append(bits, v)
			stderr, _ := row.Get(EvalBPDStderr)
			mse, _ := row.Get(EvalMSE)
			if !(v > 0 && stderr > 0 && mse > 0) {
				t.Errorf("step %d: %v bits/dim, with error %v and mse %v", row.Step, v, stderr, mse)
			}
		}
	}
	return steps, bits
}

// An evaluation does not change the training state, and its result does not depend on the
// size of its batches.
func TestEvaluation(t *testing.T) {
	c := madeup.Run()
	c.Eval = runconfig.EvalConfig{HoldOut: 0.05}
	plain := train(t, c, filepath.Join(t.TempDir(), "plain"))
	c.Eval = runconfig.EvalConfig{HoldOut: 0.05, Interval: 4, Images: 6, Respacing: "10"}
	dir := filepath.Join(t.TempDir(), "evaluated")
	sameState(t, plain, train(t, c, dir))
	steps, bits := evaluations(t, dir)
	if len(steps) != 2 || steps[0] != 4 || steps[1] != 6 {
		t.Fatalf("evaluated at steps %v, want 4 and the last, 6", steps)
	}
	if bits[0] == bits[1] {
		t.Errorf("two steps later the bound is still %v", bits[0])
	}
	c.Train.Microbatch = 1
	dir = filepath.Join(t.TempDir(), "one by one")
	train(t, c, dir)
	if _, others := evaluations(t, dir); len(others) != 2 || math.Abs(others[1]/bits[1]-1) > 1e-2 {
		t.Errorf("one image at a time the bound is %v, else %v", others, bits)
	}
}

func TestEvaluationNeedsImages(t *testing.T) {
	for want, e := range map[string]runconfig.EvalConfig{
		"set hold-out":         {Interval: 10},
		"must not be negative": {Interval: -1},
		"not 1":                {HoldOut: 1},
		"eval-pictures":        {Images: -1},
		"ddim41":               {Respacing: "ddim41"},
		"at least 2":           {Samples: 1, Interval: 1},
		"needs an eval-inter":  {Samples: 2},
		"not one of fid, kid":  {Samples: 2, Interval: 1, Metric: "is"},
		"needs eval-samples":   {Metric: "kid"},
	} {
		c := madeup.Run()
		c.Eval = e
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", e, err, want)
		}
	}
	c := madeup.Run()
	c.Eval = runconfig.EvalConfig{Interval: 1, Dir: filepath.Join(t.TempDir(), "nowhere")}
	if _, err := New(c, Run{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "images to evaluate on") {
		t.Errorf("error %v", err)
	}
}

// The first evaluation of a run uses the raw weights, and the second the EMA, as the log
// says. The bound of the raw weights equals that of a run without an EMA.
func TestEvaluationByDefaultWeights(t *testing.T) {
	run := func(steps int, rates ...float64) ([]float64, []string) {
		core, log := observer.New(zap.InfoLevel)
		c := madeup.Run()
		c.Train.Steps, c.Train.EMARates = steps, rates
		c.Eval = runconfig.EvalConfig{HoldOut: 0.05, Interval: 2, Images: 2, Respacing: "5"}
		dir := filepath.Join(t.TempDir(), "run")
		trainer, err := New(c, Run{Dir: dir, Log: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		if err := trainer.Train(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := trainer.Close(); err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, e := range log.FilterMessage("evaluating the bound").All() {
			reason, _ := e.ContextMap()["reason"].(string)
			said = append(said, e.ContextMap()["weights"].(string)+" "+reason)
		}
		_, bits := evaluations(t, dir)
		return bits, said
	}
	bits, said := run(4, 0.8) // 0.8^2 > 0.5 >= 0.8^4
	raw, _ := run(4)
	want := []string{"of the last step at step 2, EMA 0.8 is still 64 % initial weights, and falls to half at step 4", "EMA 0.8 "}
	if !slices.Equal(said, want) {
		t.Errorf("the log says %q, want %q", said, want)
	}
	if bits[0] != raw[0] || bits[1] == raw[1] {
		t.Errorf("bits/dim %v, of the raw weights %v", bits, raw)
	}
}
