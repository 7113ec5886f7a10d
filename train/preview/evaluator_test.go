package preview

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/checkpoint"
	"iddpm/evaluate"
	"iddpm/inference"
	"iddpm/internal/madeup"
	"iddpm/runconfig"
	"iddpm/train"
	"iddpm/train/metrics"
)

// fiveImages is a set of five images in memory.
func fiveImages(size int) *train.Images {
	return &train.Images{Title: "five", Size: size, Pixels: madeup.Images("five", 5, size)}
}

// weightsFile writes pseudorandom weights of the Inception network.
func weightsFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "inception.pth")
	if err := pt.WriteFile(path, madeup.InceptionWeights()); err != nil {
		t.Fatal(err)
	}
	return path
}

// evaluated is a run with one evaluation of five samples at its third step, the last.
func evaluated(metric string) runconfig.Config {
	c := tiny()
	c.Samples.Interval, c.Train.Steps = 0, 3
	c.Eval = runconfig.EvalConfig{Interval: 5, Samples: 5, Metric: metric}
	return c
}

// A run logs the metric of the samples of its checkpoint and the images that it trains on, and keeps
// the best checkpoint by it.
func TestSampleMetrics(t *testing.T) {
	weights := weightsFile(t)
	for metric, column := range map[string]string{"fid": train.EvalFID, "kid": train.EvalKID} {
		c, dir := evaluated(metric), t.TempDir()
		c.Train.KeepBest = metric
		images := fiveImages(c.Model.ImageSize)
		at := func(context.Context) (string, error) { return weights, nil }
		trainer, err := train.New(c, train.Run{Dir: dir, Data: images, Observers: []train.Observer{&Evaluator{Weights: at}}})
		finish(t, trainer, err)
		rows, err := metrics.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		value, ok := rows[len(rows)-1].Get(column)
		if !ok || rows[len(rows)-1].Step != 3 || !(value > 0) {
			t.Errorf("%s is logged in %v", metric, rows)
		}
		if metric == "kid" {
			if want := expectedKID(t, dir, c, images, weights); !(math.Abs(value-want) < 1e-3*want) {
				t.Errorf("KID %g, want %g", value, want)
			}
		}
		best, err := os.ReadFile(filepath.Join(dir, "checkpoints", "best.pt"))
		if err != nil || string(best) != string(read(t, checkpointFile(dir, "000003"))) {
			t.Errorf("%s: best.pt is not the checkpoint of step 3 (%v)", metric, err)
		}
	}
}

// expectedKID computes the KID of a run's checkpoint.
func expectedKID(t *testing.T, dir string, c runconfig.Config, images *train.Images, weights string) (value float64) {
	t.Helper()
	m, err := inference.Load(dir, inference.LoadOptions{Respacing: c.Samples.Respacing})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	_, sampler := c.Samples.Process(c.Diffusion)
	samples, err := m.Sample(t.Context(), inference.SampleOptions{Count: c.Eval.Samples, Sampler: sampler})
	if err != nil {
		t.Fatal(err)
	}
	gotorch.Run(func() {
		gotorch.Scope(func() {
			network, err := evaluate.Load(weights, gotorch.Device{})
			if err != nil {
				t.Fatal(err)
			}
			a, b := network.NewSet(5), network.NewSet(5)
			kid := evaluate.KID{}
			if err = errors.Join(a.Add(samples.Pixels, samples.Size), b.Add(images.Pixels, images.Size)); err == nil {
				kid, err = evaluate.KernelInceptionDistance(t.Context(), a.Features(), b.Features())
			}
			if value = kid.Mean; err != nil {
				t.Fatal(err)
			}
		})
	})
	return value
}

// Without weights of the Inception network a run continues, and says why it evaluates nothing.
func TestEvaluatorWithoutWeights(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	c := evaluated("")
	c.Eval.Interval = 2 // steps 2 and, the last, 3
	none := errors.New("no network")
	weights := func(context.Context) (string, error) { return "", none }
	trainer, err := train.New(c, train.Run{Dir: t.TempDir(), Data: fiveImages(c.Model.ImageSize), Log: zap.New(core), Observers: []train.Observer{&Evaluator{Weights: weights}}})
	finish(t, trainer, err)
	if said := logs.FilterMessageSnippet("cannot evaluate samples").All(); len(said) != 2 || said[0].ContextMap()["error"] != none.Error() {
		t.Errorf("the log says %v", logs.All())
	}
}

// An interrupt while the metric is computed abandons it and saves the run.
func TestInterruptMetric(t *testing.T) {
	c, dir, file := evaluated("fid"), t.TempDir(), weightsFile(t)
	c.Train.SaveInterval = 1000
	ctx, cancel := context.WithCancel(t.Context())
	e := &Evaluator{Weights: func(context.Context) (string, error) {
		cancel()
		return file, nil
	}}
	trainer, err := train.New(c, train.Run{Dir: dir, Data: fiveImages(c.Model.ImageSize), Observers: []train.Observer{e}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(trainer.Train(ctx), trainer.Close()); !errors.Is(err, train.ErrInterrupted) {
		t.Errorf("error %v", err)
	}
	if saved, err := checkpoint.Load(dir); err != nil || saved.Step != 3 {
		t.Errorf("saved %+v, %v", saved, err)
	}
	rows, err := metrics.Read(dir)
	if err != nil || len(rows) == 0 {
		t.Fatal(rows, err)
	}
	if _, ok := rows[len(rows)-1].Get(train.EvalFID); ok {
		t.Error("the abandoned metric is logged")
	}
}
