package train

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/wangkuiyi/gotorch"
)

// ErrInterrupted says that training stopped because its context was cancelled, and that the
// run is saved.
var ErrInterrupted = errors.New("interrupted; the run is saved")

// onTensorThread runs f on the tensor thread, and returns libtorch's exceptions as errors.
func (t *Trainer) onTensorThread(f func() error) error {
	if err := gotorch.LoadLibrary(); err != nil {
		return err
	}
	return t.run.Group.OnTensorThread(f)
}

// withStepTimeout limits how long processes wait for one another while f runs. The limit is
// generous enough for a slow disk or a step on a CPU, but not for an evaluation or for
// writing a checkpoint.
func (t *Trainer) withStepTimeout(f func() error) error {
	return t.run.Group.Within(cmp.Or(t.run.StepTimeout, time.Hour), f)
}

// syncStop returns nil in all processes, or an error in all of them: ErrInterrupted if ctx
// is cancelled in one, or the error of one.
func (t *Trainer) syncStop(ctx context.Context, mine error) error {
	err := t.run.Group.SyncStop(ctx, mine)
	if errors.Is(err, context.Canceled) {
		return ErrInterrupted
	}
	return err
}
