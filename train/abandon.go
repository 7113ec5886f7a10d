package train

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
)

// stopGrace is how long a step may go on after an interrupt before it is abandoned. Docker
// kills a container ten seconds after it has asked it to stop, and saving takes some of them.
const stopGrace = 3 * time.Second

// phase is what the tensor thread does to the state of the run.
type phase struct{ atomic.Int32 }

const (
	betweenSteps = iota // saves, evaluates, or prepares a step
	computing           // gradients: the state stays as it was before the step
	updating            // weights, averages and the optimizer's state
	abandoned           // nothing, from now on: the step must not update
)

// beginUpdate reports whether the step may change the state: no, if it is abandoned.
func (p *phase) beginUpdate() bool { return p.CompareAndSwap(computing, updating) }

// abandonable reports whether a step can be left where it stands. On a GPU it is one CUDA
// graph, and other processes wait for their share of the gradient.
func (t *Trainer) abandonable() bool {
	return t.device.Type == gotorch.CPU && t.group.Size() == 1
}

// loopOrAbandon trains as loop does, on the tensor thread. After an interrupt it waits for a
// step for stopGrace only, and then saves the state before it while that thread is still at
// work; the step changes nothing any more.
func (t *Trainer) loopOrAbandon(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- t.onTensorThread(func() error { return t.loop(ctx) })
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	for wait := stopGrace; ; wait = 10 * time.Millisecond {
		select {
		case err := <-ended:
			return err
		case <-time.After(wait):
		}
		if t.phase.CompareAndSwap(computing, abandoned) {
			return t.saveAbandoned()
		}
	}
}

func (t *Trainer) saveAbandoned() (err error) {
	t.log.Info("abandoning the step in progress, which would take too long", zap.Int("step", t.current+1), zap.Int("saved_step", t.current))
	refused := gotorch.Try(func() {
		gotorch.Scope(func() { gotorch.NoGrad(func() { err = t.saveLast() }) })
	})
	if refused != nil {
		return refused
	}
	if err != nil {
		return err
	}
	return ErrInterrupted
}
