package likelihood

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
)

// evaluation evaluates five images of 4 x 4 pixels with a network that predicts x_t.
func evaluation(t *testing.T, batchSize int) Evaluation {
	t.Helper()
	process, err := diffusion.New(diffusion.Config{Steps: 3, NoiseSchedule: diffusion.Cosine}, gotorch.Device{})
	if err != nil {
		t.Fatal(err)
	}
	return Evaluation{
		Diffusion: process, Count: 5, BatchSize: batchSize, Seed: 7,
		Denoise: func(x, _ gotorch.Tensor, _ diffusion.Cond) gotorch.Tensor { return x.MulScalar(0.5) },
		Batch: func(first, n int) (gotorch.Tensor, diffusion.Cond, error) {
			x := gotorch.PhiloxUniform(gotorch.Device{}, gotorch.Float, gotorch.PhiloxKey{FirstSample: int64(first)}, int64(n), 3, 4, 4)
			return x, diffusion.Cond{}, nil
		},
	}
}

func total(t *testing.T, e Evaluation) diffusion.BPDSum {
	t.Helper()
	var sum diffusion.BPDSum
	if err := e.Add(context.Background(), &sum); err != nil || sum.Len() != 5 {
		t.Fatalf("%d images, %v", sum.Len(), err)
	}
	return sum
}

// TestBatches checks that the bound of an image does not depend on the batch, but for rounding.
func TestBatches(t *testing.T) {
	all, pairs := total(t, evaluation(t, 5)), total(t, evaluation(t, 2))
	for i := range all.Total {
		if !(math.Abs(all.Total[i]-pairs.Total[i]) <= 1e-5*math.Abs(all.Total[i])) {
			t.Errorf("image %d: %v in a batch of five, %v in a pair", i, all.Total[i], pairs.Total[i])
		}
	}
	other := evaluation(t, 5)
	other.Seed++
	if slices.Equal(all.Total, total(t, other).Total) {
		t.Error("another seed gives the same bound")
	}
}

// TestResume interrupts an evaluation and resumes it, to the same bits.
func TestResume(t *testing.T) {
	e := evaluation(t, 2)
	whole := total(t, e)
	var sum diffusion.BPDSum
	rounds, stop := 0, errors.New("stop")
	e.AfterRound = func() error {
		if rounds++; rounds == 2 {
			return stop
		}
		return nil
	}
	if err := e.Add(context.Background(), &sum); !errors.Is(err, stop) || sum.Len() != 4 {
		t.Fatalf("%d images, %v", sum.Len(), err)
	}
	if err := e.Add(context.Background(), &sum); err != nil || !slices.Equal(sum.Total, whole.Total) || !slices.Equal(sum.VB, whole.VB) {
		t.Errorf("%v: %v in two parts, %v at once", err, sum, whole)
	}
}

// TestErrors checks that the errors of the callbacks end an evaluation, and that the batch does not count.
func TestErrors(t *testing.T) {
	failed := errors.New("failed")
	for name, change := range map[string]func(*Evaluation){
		"batch": func(e *Evaluation) {
			e.Batch = func(int, int) (x gotorch.Tensor, c diffusion.Cond, err error) { return x, c, failed }
		},
		"check":    func(e *Evaluation) { e.Check = func(int, int, diffusion.BPD) error { return failed } },
		"progress": func(e *Evaluation) { e.Progress = func(int, int) error { return failed } },
	} {
		e := evaluation(t, 2)
		change(&e)
		var sum diffusion.BPDSum
		if err := e.Add(context.Background(), &sum); !errors.Is(err, failed) || sum.Len() != 0 {
			t.Errorf("%s: %d images, %v", name, sum.Len(), err)
		}
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := evaluation(t, 2).Add(canceled, new(diffusion.BPDSum)); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}
