package train

import (
	"errors"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/model"
)

// TestLargestMicrobatch checks the largest of nearly equal parts that fits.
func TestLargestMicrobatch(t *testing.T) {
	c := tiny()
	u, err := c.Model.UNet()
	if err != nil {
		t.Fatal(err)
	}
	network, err := model.Plan(u)
	if err != nil {
		t.Fatal(err)
	}
	room := func(n int) int64 {
		return int64(memoryMargin*float64(EstimateMemory(network, c, 50, n).Bytes())) + 1
	}
	for free, want := range map[int64]int{0: 1, room(25): 25, room(25) - 2: 17, room(17): 17, room(50): 50, 1 << 60: 50} {
		if got := largestMicrobatch(network, c, 50, free); got != want {
			t.Errorf("%d free bytes: %d images, want %d", free, got, want)
		}
	}
	if got := largestMicrobatch(network, c, 1, 0); got != 1 {
		t.Errorf("batch of one image: %d", got)
	}
}

// TestLowerMicrobatch runs steps that run out of memory with microbatches of more than two
// images: the weights equal those of microbatches of two, to the bit.
func TestLowerMicrobatch(t *testing.T) {
	for _, precision := range []string{"fp32", "bf16"} {
		c := tiny()
		c.Train.BatchSize, c.Train.Precision = 8, precision
		c.Train.Microbatch = 2
		want, _ := afterMemoryRanOut(t, c)
		c.Train.Microbatch, c.Train.MicrobatchAuto = 0, true
		got, b := afterMemoryRanOut(t, c)
		if b.Config().Train.Microbatch != 2 || !b.Config().Train.MicrobatchAuto {
			t.Errorf("%s: the configuration has microbatch %d", precision, b.Config().Train.Microbatch)
		}
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Fatalf("%s: parameter %d differs", precision, i)
			}
		}
	}
}

// afterMemoryRanOut returns the parameters after three steps on a device with memory for two
// images.
func afterMemoryRanOut(t *testing.T, c Config) (values [][]float64, b *Bench) {
	t.Helper()
	b, err := NewBench(c, gotorch.Device{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	tr := b.trainer
	limit(tr, 2)
	for range 3 {
		if err := tr.onTensorThread(func() error {
			r, err := tr.stepThatFits(b.batch)
			if err == nil {
				r.free()
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	gotorch.Run(func() {
		for _, p := range tr.network.Tensors() {
			values = append(values, p.Float64s())
		}
	})
	return values, b
}

// limit makes steps with larger microbatches run out of memory, after their backward pass.
func limit(tr *Trainer, most int) {
	run := tr.work.run
	tr.work.graph = gotorch.NewGraph(gotorch.Device{}, func() {
		if tr.config.Train.microbatch() > most {
			gotorch.Scope(func() { tr.backwardAll(tr.work.inputs(), new(stepOutputs)) })
			panic(&gotorch.Error{Op: "Empty", Message: "CUDA out of memory", OutOfMemory: true})
		}
		run()
	})
}

// Only an automatic microbatch is lowered, and never below one image. A step that has started
// to update the weights is not repeated.
func TestMicrobatchIsNotLowered(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Trainer)
		most   int
	}{
		"the user's": {func(tr *Trainer) { tr.config.Train.MicrobatchAuto = false }, 2},
		"of one":     {func(*Trainer) {}, 0},
		"too late":   {func(tr *Trainer) { late(tr) }, 8},
		"other error": {func(tr *Trainer) {
			tr.work.graph = gotorch.NewGraph(gotorch.Device{}, func() { panic(&gotorch.Error{Op: "x"}) })
		}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			config := tiny()
			config.Train.BatchSize, config.Train.MicrobatchAuto = 4, true
			b, err := NewBench(config, gotorch.Device{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			limit(b.trainer, c.most)
			c.change(b.trainer)
			err = b.trainer.onTensorThread(func() error { _, err := b.trainer.stepThatFits(b.batch); return err })
			var refused *gotorch.Error
			if !errors.As(err, &refused) {
				t.Errorf("error %v", err)
			}
			if b.trainer.Step() != 0 {
				t.Errorf("counts %d steps", b.trainer.Step())
			}
		})
	}
}

// late makes a step run out of memory after the update of the weights.
func late(tr *Trainer) {
	run := tr.work.run
	tr.work.graph = gotorch.NewGraph(gotorch.Device{}, func() {
		run()
		panic(&gotorch.Error{Op: "Empty", Message: "CUDA out of memory", OutOfMemory: true})
	})
}
