package preview

import (
	"testing"
	"time"

	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/checkpoint"
	"iddpm/runconfig"
	"iddpm/train"
)

func TestLengthen(t *testing.T) {
	for name, test := range map[string]struct {
		budget   budget
		interval int
		costs    costs
		want     int
	}{
		"within":           {budget{step: 300, trained: 300, spent: 9}, 100, costs{step: 1, batch: 3, perBatch: 1}, 100},
		"a little more":    {budget{step: 300, trained: 300, spent: 9.6}, 100, costs{step: 1, batch: 3.2, perBatch: 1}, 300}, // at 400 it would be 12.8 of 400
		"twice":            {budget{step: 100, trained: 100, spent: 6}, 100, costs{step: 1, batch: 6, perBatch: 1}, 400},
		"once":             {budget{step: 900, trained: 900, spent: 30}, 100, costs{step: 1, batch: 3, perBatch: 1}, 300}, // at 1000 it would be 33 of 1000
		"near the end":     {budget{step: 800, trained: 800, spent: 25}, 100, costs{step: 1, batch: 3, perBatch: 1, total: 1000}, 200},
		"only at the end":  {budget{step: 500, trained: 500, spent: 20}, 100, costs{step: 1, batch: 10, perBatch: 1, total: 1000}, 500},
		"none":             {budget{step: 500, trained: 500, spent: 25}, 100, costs{step: 1, batch: 10, perBatch: 1, total: 1000}, 0},
		"a stopped clock":  {budget{step: 500, trained: 500, spent: 25}, 100, costs{batch: 10, perBatch: 1}, 100},
		"an immense grid":  {budget{step: 10, trained: 10, spent: 1e4}, 10, costs{step: 1, batch: 1e4, perBatch: 1}, 700000},
		"an immense final": {budget{step: 10, trained: 10, spent: 1e4}, 10, costs{step: 1, batch: 1e4, perBatch: 1, total: 20}, 0},
	} {
		if got := test.budget.lengthen(test.interval, test.costs); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// TestBudgetHolds plays runs with steps of 1 s whose grids cost other times than estimated: from the
// second grid on they cost at most 3 % of the time, and at least a third of that where they cost
// more than estimated.
func TestBudgetHolds(t *testing.T) {
	for _, cost := range []float64{0.5, 3, 3.5, 6, 20, 100} {
		start, interval := time.Unix(0, 0), 100
		now, b := start, budget{}
		b.mark(0, now)
		grids := 0
		for step := 1; step <= 20_000; step++ {
			now = now.Add(time.Second)
			if step%interval != 0 {
				continue
			}
			if share := (b.spent + cost) / (b.trained + float64(step-b.step)); grids > 0 && share > maxShare+1e-9 {
				t.Fatalf("grids of %g s: %.4f of the time at step %d", cost, share, step)
			}
			grids++
			ended := now.Add(time.Duration(cost * float64(time.Second)))
			c := b.add(step-b.step, step, now, ended)
			interval, now = b.lengthen(interval, c), ended
		}
		if share := b.spent / b.trained; cost >= 3 && share < maxShare/3 {
			t.Errorf("grids of %g s: only %.4f of the time, at intervals of %d", cost, share, interval)
		}
		if (interval > 100) != (cost > 3) {
			t.Errorf("grids of %g s: interval %d", cost, interval)
		}
	}
}

// A run whose grids cost more than estimated lengthens their interval, stores it, and trains the
// weights of a run without grids. The clock moves on by a second whenever it is read: a step
// between two grids costs half as much as a grid.
func TestIntervalAdapts(t *testing.T) {
	plain, dir := t.TempDir(), t.TempDir()
	c := tiny()
	c.Train.Steps, c.Samples = 9, runconfig.SampleConfig{}
	trainer, err := train.New(c, train.Run{Dir: plain})
	finish(t, trainer, err)

	c.Samples = runconfig.SampleConfig{Interval: 2, Chosen: true, Images: 5, Respacing: "2"}
	core, logs := observer.New(zapcore.InfoLevel)
	read := time.Unix(0, 0)
	s := &Sampler{clock: func() time.Time { read = read.Add(time.Second); return read }}
	trainer, err = train.New(c, train.Run{Dir: dir, Log: zap.New(core), Observers: []train.Observer{s}})
	finish(t, trainer, err)
	stored, err := train.ReadConfig(dir)
	if err != nil || stored.Samples.Interval != 0 || logs.FilterMessageSnippet("no more grids of samples").Len() != 1 || logs.FilterMessage("sampled").Len() != 1 {
		t.Errorf("stored %+v, %v; the log says %v", stored.Samples, err, logs.All())
	}
	sameWeights(t, checkpointFile(plain, "000009"), checkpointFile(dir, "000009"))
}

// A run whose grids cost as estimated keeps their interval, and so does one whose user names it.
func TestIntervalStays(t *testing.T) {
	for name, test := range map[string]struct {
		chosen bool
		grid   time.Duration
	}{"chosen": {true, time.Microsecond}, "the user's": {false, time.Hour}} {
		dir := t.TempDir()
		c := tiny()
		c.Samples.Chosen = test.chosen
		read := time.Unix(0, 0)
		step := time.Hour
		s := &Sampler{clock: func() time.Time { // a mark, and two readings a grid and its log line
			read = read.Add(step)
			step = test.grid
			return read
		}}
		run := train.Run{Dir: dir, Observers: []train.Observer{s}, Progress: func(train.Progress) { step = time.Hour }}
		trainer, err := train.New(c, run)
		finish(t, trainer, err)
		if stored, err := train.ReadConfig(dir); err != nil || stored.Samples.Interval != 3 {
			t.Errorf("%s: %+v, %v", name, stored.Samples, err)
		}
	}
}

// sameWeights compares the weights of two checkpoints bit by bit.
func sameWeights(t *testing.T, one, two string) {
	t.Helper()
	a, err := checkpoint.Load(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := checkpoint.Load(two)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range a.Model.All() {
		other, _ := b.Model.Get(name)
		x, y := value.(*pt.Tensor), other.(*pt.Tensor)
		if string(x.Data) != string(y.Data) {
			t.Fatalf("%v differs", name)
		}
	}
}
