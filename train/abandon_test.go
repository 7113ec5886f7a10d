package train

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/checkpoint"
	"iddpm/internal/madeup"
)

// TestAbandonedStep interrupts a run during a step that does not end: the state before that
// step is saved, and the resumed run ends in the state of an uninterrupted one.
func TestAbandonedStep(t *testing.T) {
	whole := train(t, madeup.Run(), filepath.Join(t.TempDir(), "whole"))
	dir := filepath.Join(t.TempDir(), "run")
	trainer, err := New(madeup.Run(), Run{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	trainer.engine.WrapStep(func(work func()) {
		if trainer.Step() == 2 {
			cancel()
			<-release
		}
		work()
	})
	if err := trainer.Train(ctx); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	saved := trainer.Summary()
	close(release)
	gotorch.Run(func() {}) // the step ends
	if err := trainer.Close(); err != nil {
		t.Fatal(err)
	}
	if want := checkpoint.File(dir, 2); saved.Step != 2 || saved.Checkpoint != want {
		t.Fatalf("step %d, %s: want %s", saved.Step, saved.Checkpoint, want)
	}
	resumed, err := Resume(saved.Checkpoint, nil, Run{Dir: dir})
	sameState(t, whole, finish(t, resumed, err))
}
