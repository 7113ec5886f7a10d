package train

import (
	"context"
	"errors"
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

// holdsState reports whether the state before a step is kept until the step's gradients are
// complete. On a GPU a step is one CUDA graph, which updates the state in place.
func (t *Trainer) holdsState() bool { return t.device.Type == gotorch.CPU }

// interruptsReachAll reports whether a signal to one process of the run is sent to all of them,
// as a launcher on one machine does. Across machines the others learn of it after the step.
func (t *Trainer) interruptsReachAll() bool { return t.group.LocalSize() == t.group.Size() }

// grace is how long this process waits for the running step after an interrupt. The leader
// abandons it first, since the others have nothing to save.
func (t *Trainer) grace() time.Duration {
	if t.group.IsLeader() {
		return stopGrace
	}
	return stopGrace + stopGrace/4
}

// loopOrAbandon runs loop on the tensor thread. After an interrupt it waits at most stopGrace
// for the running step. Then it abandons that step, which no longer changes the state, and
// saves the state before it while the tensor thread is still busy.
//
// Each process of several does this independently. The leader's state is that before the step or
// that after it whatever the others do, because an update needs the gradients of all processes.
func (t *Trainer) loopOrAbandon(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- t.onTensorThread(func() error { return t.loop(ctx) })
	}()
	select {
	case err := <-ended:
		return t.saveIfLost(ctx, err)
	case <-ctx.Done():
	}
	for wait := t.grace(); ; wait = 10 * time.Millisecond {
		select {
		case err := <-ended:
			return t.saveIfLost(ctx, err)
		case <-time.After(wait):
		}
		if t.interruptsReachAll() && t.phase.CompareAndSwap(computing, abandoned) {
			t.group.Leave()
			return t.saveAbandoned()
		}
	}
}

// saveIfLost saves the state before the step that failed because another process was lost. After
// an interrupt that process has abandoned the step.
func (t *Trainer) saveIfLost(ctx context.Context, cause error) error {
	if !t.group.Lost() || t.phase.Load() == updating {
		return cause
	}
	if t.group.IsLeader() {
		if err := t.onTensorThread(t.saveLast); err != nil {
			return errors.Join(cause, err)
		}
	}
	if ctx.Err() != nil {
		return ErrInterrupted
	}
	return t.savedDespite(cause)
}

func (t *Trainer) saveAbandoned() (err error) {
	if !t.group.IsLeader() {
		return ErrInterrupted
	}
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
