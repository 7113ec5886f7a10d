package preview

import (
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/runconfig"
	"iddpm/train"
)

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		costs  costs
		images []int
		want   plan
	}{
		// 4 batches of 3 s are 100 steps of 4 s with 3 % of their time.
		{costs{step: 4, batch: 3, perBatch: 16}, []int{64, 16}, plan{64, 100, 0.03}},
		{costs{step: 4, batch: 3.1, perBatch: 16}, []int{64, 16}, plan{64, 200, 0.0155}},
		{costs{step: 4, batch: 3, perBatch: 64}, []int{64, 16}, plan{64, 30, 0.025}},
		{costs{step: 4, batch: 3, perBatch: 16, total: 800}, []int{64, 16}, plan{64, 100, 0.03}},
		{costs{step: 4, batch: 3, perBatch: 16, total: 600}, []int{64, 16}, plan{16, 30, 0.025}},
		{costs{step: 4, batch: 3, perBatch: 16, total: 600}, []int{64}, plan{64, 100, 0.03}},
		// Every 30 steps would be 3 % but for the grid after the last step, the eighth.
		{costs{step: 4, batch: 3.6, perBatch: 16, total: 220}, []int{16}, plan{16, 40, 6 * 3.6 / (220 * 4)}},
		{costs{step: 4, batch: 3, perBatch: 16, total: 20}, []int{64, 16}, plan{16, 0, 0.0375}},
		{costs{step: 1, batch: 1e-6, perBatch: 16, total: 20}, []int{64, 16}, plan{64, 1, 4e-6}},
	} {
		got := test.costs.choose(test.images)
		if got.Images != test.want.Images || got.Interval != test.want.Interval || got.Share < test.want.Share-1e-9 || got.Share > test.want.Share+1e-9 {
			t.Errorf("%+v: %+v, want %+v", test.costs, got, test.want)
		}
	}
}

func TestRoundUp(t *testing.T) {
	for x, want := range map[float64]int{0: 1, 0.2: 1, 1: 1, 1.1: 2, 9.5: 10, 10: 10, 11: 20, 99: 100, 101: 200, 1000: 1000, 1001: 2000, 850_000: 900_000} {
		if got := roundUp(x); got != want {
			t.Errorf("%g: %d, want %d", x, got, want)
		}
	}
}

// A run chooses its interval once, and stores it for those that resume it. By the clock of the test a step
// takes a second, and sampling no time.
func TestChosenIntervalIsStored(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	c, dir := tiny(), t.TempDir()
	c.Samples = runconfig.SampleConfig{Interval: runconfig.AutoInterval, Respacing: "2"}
	c.Train.Steps = 15
	var trainer *train.Trainer
	run := func(dir string) train.Run {
		clock := func() time.Time { return time.Unix(int64(trainer.Step()), 0) }
		return train.Run{Dir: dir, Log: zap.New(core), Observers: []train.Observer{&Sampler{clock: clock}}}
	}
	var err error
	trainer, err = train.New(c, run(dir))
	finish(t, trainer, err)
	stored, err := train.ReadConfig(dir)
	want := runconfig.SampleConfig{Interval: 1, Images: defaultImages, Chosen: true, Respacing: "2"}
	if err != nil || stored.Samples != want || logs.FilterField(zap.Int("images", want.Images)).Len() == 0 {
		t.Fatalf("stored %+v, %v, want %+v; the log says %v", stored.Samples, err, want, logs.All())
	}
	trainer, err = train.Resume(dir, func(own *runconfig.Config) error { own.Train.Steps = 30; return nil }, run(""))
	finish(t, trainer, err)
	after, err := train.ReadConfig(dir)
	choices := logs.FilterMessageSnippet("interval of sample grids").Len() + logs.FilterMessageSnippet("no grids of samples").Len()
	if err != nil || after.Samples != want || choices != 1 {
		t.Errorf("resumed with %+v, %v; chosen %d times", after.Samples, err, choices)
	}
}
