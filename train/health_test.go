package train

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/checkpoint"
	"iddpm/internal/madeup"
	"iddpm/runconfig"
	"iddpm/train/metrics"
)

// parameter returns a parameter of a trainer's network.
func (t *Trainer) parameter(name string) gotorch.Tensor {
	for _, p := range t.engine.Network().Parameters() {
		if p.Name == name {
			return p.Tensor.Detach()
		}
	}
	panic(name)
}

// poisoned trains, and calls poison after every step on the tensor thread.
func poisoned(t *testing.T, c runconfig.Config, poison func(*Trainer, int)) (*Trainer, *observer.ObservedLogs, error) {
	t.Helper()
	return poisonedAs(t, c, true, poison)
}

// poisonedAs trains as on a CPU, whose host reads every step, or as on a GPU, which skips
// steps by itself.
func poisonedAs(t *testing.T, c runconfig.Config, syncEveryStep bool, poison func(*Trainer, int)) (*Trainer, *observer.ObservedLogs, error) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	var trainer *Trainer
	trainer, err := New(c, Run{Dir: t.TempDir(), Log: zap.New(core), Progress: func(p Progress) { poison(trainer, p.Step) }})
	if err != nil {
		t.Fatal(err)
	}
	trainer.syncEveryStep = syncEveryStep
	err = trainer.Train(t.Context())
	return trainer, logs, errors.Join(err, trainer.Close())
}

// TestNonFiniteStepIsSkipped makes a weight infinite for two steps: they change no weights,
// EMA weights or optimizer state, and training continues.
func TestNonFiniteStepIsSkipped(t *testing.T) {
	for _, syncEveryStep := range []bool{true, false} {
		t.Run(fmt.Sprintf("sync every step %t", syncEveryStep), func(t *testing.T) { testNonFiniteStepIsSkipped(t, syncEveryStep) })
	}
}

func testNonFiniteStepIsSkipped(t *testing.T, syncEveryStep bool) {
	c := madeup.Run()
	c.Train.LogInterval = 1
	const name = "out.2.bias"
	var before, after []float64
	trainer, logs, err := poisonedAs(t, c, syncEveryStep, func(trainer *Trainer, step int) {
		switch step {
		case 2:
			before = trainer.parameter("out.2.weight").Float64s()
			trainer.parameter(name).FillI(math.Inf(1))
		case 4:
			after = trainer.parameter("out.2.weight").Float64s()
			trainer.parameter(name).FillI(0)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range before {
		if before[i] != after[i] {
			t.Fatalf("weight %d changed from %g to %g in skipped steps", i, before[i], after[i])
		}
	}
	if logs.FilterMessageSnippet("the step is skipped").Len() != 1 {
		t.Errorf("the log says %v", logs.All())
	}
	last, err := checkpoint.Load(trainer.run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if last.Step != 6 || last.Health.Skipped != 2 || last.Health.SkippedInARow != 0 {
		t.Errorf("at step %d, health is %+v", last.Step, last.Health)
	}
	if updates := floats(nested[*pt.Tensor](t, last.Optimizer, "state", 0, "step"))[0]; updates != 4 {
		t.Errorf("%g updates, want 4", updates)
	}
}

// TestRollBack makes the weights diverge: the run rolls back to the checkpoint and continues
// with other random numbers.
func TestRollBack(t *testing.T) {
	for _, syncEveryStep := range []bool{true, false} {
		t.Run(fmt.Sprintf("sync every step %t", syncEveryStep), func(t *testing.T) { testRollBack(t, syncEveryStep) })
	}
}

func testRollBack(t *testing.T, syncEveryStep bool) {
	c := madeup.Run()
	c.Train.SaveInterval, c.Train.MaxSkipped, c.Train.Steps, c.Train.LogInterval = 2, 3, 8, 1
	c.Train.PowerEMA, c.Train.PowerEMAInterval = []float64{0.1}, 4
	broken := false
	trainer, logs, err := poisonedAs(t, c, syncEveryStep, func(trainer *Trainer, step int) {
		if step == 3 && !broken {
			broken = true
			trainer.parameter("middle_block.0.in_layers.2.weight").FillI(1e38)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	said := logs.FilterMessageSnippet("rolling back to the last checkpoint").All()
	if len(said) != 1 || said[0].ContextMap()["where"] != "the first layer whose activations are not finite is middle_block" {
		t.Errorf("the log says %v", said)
	}
	last, err := checkpoint.Load(trainer.run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if last.Step != 8 || last.Health.Attempt != 1 {
		t.Errorf("at step %d, health is %+v", last.Step, last.Health)
	}
	rows, err := metrics.Read(trainer.run.Dir)
	if err != nil || len(rows) != 8 {
		t.Errorf("%d rows of metrics, %v", len(rows), err)
	}
	if steps := checkpoint.Snapshots(trainer.run.Dir); !slices.Equal(steps, []int{4, 8}) {
		t.Errorf("EMA snapshots of steps %v", steps)
	}
	whole := train(t, c, t.TempDir())
	a, _ := whole.Model.Get("out.2.weight")
	b, _ := last.Model.Get("out.2.weight")
	if string(a.(*pt.Tensor).Data) == string(b.(*pt.Tensor).Data) {
		t.Error("the second attempt has the weights of the first")
	}
}

// TestDiverged diverges without a checkpoint, and again after starting over: the error names
// the layer.
func TestDiverged(t *testing.T) {
	for name, want := range map[string]string{
		"middle_block.0.in_layers.2.weight": "the first layer whose activations are not finite is middle_block",
		"time_embed.0.weight":               "the first layer whose activations are not finite is time_embed",
	} {
		c := madeup.Run()
		c.Train.MaxSkipped, c.Train.Steps = 2, 100
		_, _, err := poisoned(t, c, func(trainer *Trainer, step int) { trainer.parameter(name).FillI(3e38) })
		for _, want := range []string{want, "even after rolling back once", "2 consecutive steps"} {
			if !errors.Is(err, errDiverged) || !strings.Contains(err.Error(), want) {
				t.Errorf("the error lacks %q: %v", want, err)
			}
		}
	}
}

// TestLossScaleLeavesTheGradient compares the first gradient of fp16 with fp32's.
func TestLossScaleLeavesTheGradient(t *testing.T) {
	norm := func(precision string) float64 {
		c := madeup.Run()
		c.Train.Precision, c.Train.Steps, c.Train.BatchSize = precision, 1, 2
		var norm float64
		_, _, err := poisoned(t, c, func(trainer *Trainer, _ int) {
			rows, err := metrics.Read(trainer.run.Dir)
			if err != nil {
				t.Fatal(err)
			}
			norm, _ = rows[0].Get("grad_norm")
		})
		if err != nil {
			t.Fatal(err)
		}
		return norm
	}
	if got, want := norm("fp16"), norm("fp32"); !(math.Abs(got/want-1) < 0.02) {
		t.Errorf("the gradient's norm is %g, in fp32 it is %g", got, want)
	}
}
