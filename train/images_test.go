package train

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"iddpm/data"
	"iddpm/internal/madeup"
	"iddpm/train/engine"
)

// fiveInMemory returns five images in two classes.
func fiveInMemory(size int) *Images {
	s := &Images{Title: "five", Size: size, Pixels: make([]byte, 5*3*size*size), Labels: []int64{0, 1, 0, 1, 0}, LabelNames: []string{"a", "b"}}
	for i := range s.Pixels {
		s.Pixels[i] = byte(50 * (i / s.imageBytes()))
	}
	return s
}

// Every epoch holds each image once, and a sequence from a position continues the one from the
// start, on each of two ranks.
func TestImagesInMemory(t *testing.T) {
	s := fiveInMemory(2)
	next := func(rank int, position int64) []byte {
		t.Helper()
		b, err := s.Batches(data.LoaderOptions{BatchSize: 5, Rank: rank, WorldSize: 2, Seed: 7, Position: position})
		if err != nil {
			t.Fatal(err)
		}
		batch, err := b.Next(t.Context())
		if err != nil || batch.Position != position || len(batch.Labels) != 5 {
			t.Fatalf("%+v, %v", batch, err)
		}
		seen := map[byte]bool{}
		for i := 0; i < len(batch.Pixels); i += s.imageBytes() {
			seen[batch.Pixels[i]] = true
		}
		if len(seen) != 5 {
			t.Errorf("an epoch holds %d different images", len(seen))
		}
		return batch.Pixels
	}
	if string(next(1, 0)) != string(next(0, 5)) {
		t.Error("rank 1's batch is not that of its position")
	}
	wrong := fiveInMemory(2)
	wrong.Labels[0] = 2
	for want, b := range map[string]func() (Batches, error){
		"label 2 is not in 0..1": func() (Batches, error) { return wrong.Batches(data.LoaderOptions{BatchSize: 1}) },
		"not flipped":            func() (Batches, error) { return s.Batches(data.LoaderOptions{BatchSize: 1, Flip: true}) },
		"0 bytes are not":        func() (Batches, error) { return (&Images{Size: 2}).Batches(data.LoaderOptions{BatchSize: 1}) },
	} {
		if _, err := b(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// A run on images in memory is resumed to the bits of an uninterrupted one. Its hook sees every
// step, and an error of the hook ends training after a save.
func TestRunData(t *testing.T) {
	c := madeup.Run()
	c.Model.ClassCond, c.Model.NumClasses = true, 2
	images := fiveInMemory(c.Model.ImageSize)
	var steps []int
	run := func(name string) Run {
		return Run{Dir: filepath.Join(t.TempDir(), name), Data: images, OnStep: func(r *engine.Result) error {
			if loss := r.Loss(); !(loss > 0) || math.IsInf(loss, 0) {
				t.Errorf("loss %g at step %d", loss, r.Step)
			}
			steps = append(steps, r.Step)
			return nil
		}}
	}
	trainer, err := New(c, run("whole"))
	whole := finish(t, trainer, err)
	if len(steps) != 6 || steps[5] != 6 || whole.DataName != "five" || len(whole.ClassCounts) != 2 {
		t.Errorf("steps %v, data %s, %v", steps, whole.DataName, whole.ClassCounts)
	}
	full := errors.New("enough")
	stopped := run("stopped")
	stopped.OnStep = func(r *engine.Result) error {
		if r.Step == 3 {
			return full
		}
		return nil
	}
	if trainer, err = New(c, stopped); err != nil {
		t.Fatal(err)
	}
	if err := trainer.Train(t.Context()); !errors.Is(err, full) || !strings.Contains(err.Error(), "the run is saved as") {
		t.Errorf("error %v", err)
	}
	closeTrainer(t, trainer)
	resumed, err := Resume(stopped.Dir, nil, Run{Data: images})
	sameState(t, whole, finish(t, resumed, err))
}
