package preview

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/checkpoint"
	"iddpm/inference"
	"iddpm/internal/madeup"
	"iddpm/runconfig"
	"iddpm/train"
)

// tiny is a run on the built-in images with steps of a few milliseconds, and a grid every third.
// Its EMA is mostly initial weights at step 3, but not at step 6.
func tiny() runconfig.Config {
	c := madeup.Run()
	c.Train.EMARates, c.Train.SaveInterval = []float64{0.8}, 3
	c.Samples = runconfig.SampleConfig{Interval: 3, Images: 5, Respacing: "ddim5"}
	return c
}

// sampled is the environment of a run with grids.
func sampled(dir string, log *zap.Logger) train.Run {
	return train.Run{Dir: dir, Log: log, Observers: []train.Observer{new(Sampler)}}
}

// finish trains to the end.
func finish(t *testing.T, trainer *train.Trainer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(trainer.Train(t.Context()), trainer.Close()); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func checkpointFile(dir, step string) string {
	return filepath.Join(dir, "checkpoints", "ckpt-"+step+".pt")
}

// Grids are those of the steps' checkpoints: by DDIM and ancestral sampling, in more than one
// batch, of random classes, by raw weights and EMA, and by a network trained in bfloat16.
func TestGridsMatchCheckpoints(t *testing.T) {
	for name, change := range map[string]func(*runconfig.Config){
		"ddim":      func(*runconfig.Config) {},
		"ancestral": func(c *runconfig.Config) { c.Samples.Respacing = "4" },
		"dpmpp-2m":  func(c *runconfig.Config) { c.Samples.Respacing = "logsnr6" },
		"batches":   func(c *runconfig.Config) { c.Samples.Images = 18 },
		"classes":   func(c *runconfig.Config) { c.Model.ClassCond, c.Model.NumClasses = true, 12 },
		"bf16":      func(c *runconfig.Config) { c.Train.Precision = "bf16" },
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zapcore.InfoLevel)
			c, dir := tiny(), t.TempDir()
			change(&c)
			trainer, err := train.New(c, sampled(dir, zap.New(core)))
			finish(t, trainer, err)
			_, sampler := c.Samples.Process(c.Diffusion)
			for _, step := range []string{"000003", "000006"} {
				m, err := inference.Load(checkpointFile(dir, step), inference.LoadOptions{Respacing: c.Samples.Respacing})
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				samples, err := m.Sample(t.Context(), inference.SampleOptions{Count: c.Samples.Images, Sampler: sampler})
				if err != nil {
					t.Fatal(err)
				}
				want, err := samples.GridPNG(int(math.Ceil(math.Sqrt(float64(c.Samples.Images)))))
				if err != nil || !bytes.Equal(read(t, dir, "samples", "step-"+step+".png"), want) {
					t.Errorf("the grid of step %s is not that of its checkpoint (%v)", step, err)
				}
			}
			said := logs.FilterMessage("sampled").All()
			if len(said) != 2 {
				t.Fatalf("the log says %v", logs.All())
			}
			raw, ema := said[0].ContextMap(), said[1].ContextMap()
			if reason, _ := raw["reason"].(string); raw["weights"] != "of the last step" || !strings.Contains(reason, "initial weights") {
				t.Errorf("step 3: %v", raw)
			}
			if ema["weights"] != "EMA 0.8" || ema["reason"] != nil {
				t.Errorf("step 6: %v", ema)
			}
		})
	}
}

// A run with grids, stopped and resumed, has the checkpoints of one without, byte by byte.
func TestGridsChangeNothing(t *testing.T) {
	c, plain, dir := tiny(), t.TempDir(), t.TempDir()
	trainer, err := train.New(c, train.Run{Dir: plain})
	finish(t, trainer, err)
	half := c
	half.Train.Steps = 3
	trainer, err = train.New(half, sampled(dir, nil))
	finish(t, trainer, err)
	trainer, err = train.Resume(dir, func(own *runconfig.Config) error { own.Train.Steps = 6; return nil }, sampled("", nil))
	finish(t, trainer, err)
	if !bytes.Equal(read(t, checkpointFile(plain, "000006")), read(t, checkpointFile(dir, "000006"))) {
		t.Error("the checkpoints differ")
	}
	grids, _ := filepath.Glob(filepath.Join(dir, "samples", "*"))
	if len(grids) != 2 {
		t.Errorf("grids %v", grids)
	}
	if none, _ := filepath.Glob(filepath.Join(plain, "samples", "*")); len(none) != 0 {
		t.Errorf("without a sampler: %v", none)
	}
}

// countdown is a context that ends after its error has been asked for a number of times once it
// is armed, as loops do before each step.
type countdown struct {
	context.Context
	cancel context.CancelFunc
	armed  atomic.Bool
	left   atomic.Int64 // questions before the end; negative: after it
}

func (c *countdown) Err() error {
	if c.armed.Load() && c.left.Add(-1) < 0 {
		c.cancel()
	}
	return c.Context.Err()
}

// An interrupt in the middle of a grid saves the run without another step of sampling.
func TestInterruptGrid(t *testing.T) {
	c, dir := tiny(), t.TempDir()
	c.Samples.Images, c.Samples.Respacing, c.Train.SaveInterval = 64, "40", 1000 // four batches of 40 steps
	inner, cancel := context.WithCancel(t.Context())
	ctx := &countdown{Context: inner, cancel: cancel}
	ctx.left.Store(50) // in the second batch
	run := sampled(dir, nil)
	run.Progress = func(p train.Progress) {
		if p.Step == 3 {
			ctx.armed.Store(true)
		}
	}
	trainer, err := train.New(c, run)
	if err != nil {
		t.Fatal(err)
	}
	if err := trainer.Train(ctx); !errors.Is(err, train.ErrInterrupted) {
		t.Errorf("error %v", err)
	}
	if err := trainer.Close(); err != nil {
		t.Fatal(err)
	}
	if left := ctx.left.Load(); left >= 0 || left < -5 {
		t.Errorf("%d steps too early or too late", left)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "samples")); len(left) != 0 {
		t.Errorf("samples/ holds %v", left)
	}
	if saved, err := checkpoint.Load(dir); err != nil || saved.Step != 3 {
		t.Errorf("saved %+v, %v", saved, err)
	}
}

// A grid that cannot be written is a warning, and the run goes on.
func TestUnwritableGrid(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	dir := t.TempDir()
	run := sampled(dir, zap.New(core))
	run.Progress = func(p train.Progress) {
		if p.Step == 1 {
			err := os.Remove(filepath.Join(dir, "samples"))
			if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "samples"), nil, 0o666)); err != nil {
				t.Error(err)
			}
		}
	}
	trainer, err := train.New(tiny(), run)
	finish(t, trainer, err)
	if logs.FilterMessageSnippet("cannot make a grid").Len() != 2 {
		t.Errorf("the log says %v", logs.All())
	}
}
