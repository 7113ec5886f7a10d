package train

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
)

// stopGrace is how long a running step may continue after an interrupt before it is abandoned.
// Docker kills a container ten seconds after SIGTERM, and the save must fit in that time.
const stopGrace = 3 * time.Second

// phase is what the tensor thread is doing to the run's state.
type phase struct{ atomic.Int32 }

const (
	betweenSteps = iota // saving, evaluating or preparing a step
	computing           // forward and backward pass: the state is still that before the step
	updating            // changing weights, EMA weights and optimizer state
	abandoned           // the running step must not update the state
)

// beginUpdate reports whether the step may change the state. An abandoned step may not.
func (p *phase) beginUpdate() bool { return p.CompareAndSwap(computing, updating) }

// abandonable reports whether a step can be abandoned midway. On a GPU a step is one CUDA
// graph, and among several processes the others wait for its gradients.
func (t *Trainer) abandonable() bool {
	return t.device.Type == gotorch.CPU && t.group.Size() == 1
}

// loopOrAbandon runs loop on the tensor thread. After an interrupt it waits at most stopGrace
// for the running step. Then it abandons that step, which no longer changes the state, and
// saves the state before it while the tensor thread is still busy.
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
