package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
)

// Train trains until the run's last step, or until ctx is cancelled: then it saves and
// returns ErrInterrupted. On a CPU it abandons a step that continues for more than some
// seconds after that, and saves the state before the step. The tensor thread stays busy
// until the abandoned step ends. On a CPU the run is also saved if another process is lost.
func (t *Trainer) Train(ctx context.Context) error {
	t.announce()
	if o := t.config.Train; t.threads.adapter == nil {
		t.threads.start(t.run.Device, !(o.AdaptThreads && t.run.AdaptThreads), t.run.Log)
	}
	if t.holdsState() {
		return t.loopOrAbandon(ctx)
	}
	return t.onTensorThread(func() error { return t.loop(ctx) })
}

// announce logs what is being trained.
func (t *Trainer) announce() {
	device, o := t.run.Device.String(), t.config.Train
	if t.run.Device.Type == gotorch.CPU {
		device = fmt.Sprintf("cpu (%d threads, %s)", o.Threads, gotorch.CPUCapability())
	}
	t.run.Log.Info("training",
		zap.String("data", t.data.Name()), zap.Int("images", t.data.Len()),
		zap.Stringer("model", t.engine.Network()), zap.Int("image_size", t.config.Model.ImageSize),
		zap.String("device", device), zap.Int("processes", t.run.Group.Size()),
		zap.Int("batch_size", o.BatchSize), zap.String("precision", o.Precision),
		zap.Int("step", t.Step()), zap.Int("steps", o.TotalSteps()),
		zap.String("run", t.run.Dir))
}

// stopGrace is how long a running step may continue after an interrupt before it is abandoned.
// Docker kills a container ten seconds after SIGTERM, and the save must fit in that time.
const stopGrace = 3 * time.Second

// holdsState reports whether the state before a step is kept until the step's gradients are
// complete. On a GPU a step is one CUDA graph, which updates the state in place.
func (t *Trainer) holdsState() bool { return t.run.Device.Type == gotorch.CPU }

// interruptsReachAll reports whether a signal to one process of the run is sent to all of them,
// as a launcher on one machine does. Across machines the others learn of it after the step.
func (t *Trainer) interruptsReachAll() bool { return t.run.Group.LocalSize() == t.run.Group.Size() }

// grace is how long this process waits for the running step after an interrupt. The leader
// abandons it first, since the others have nothing to save.
func (t *Trainer) grace() time.Duration {
	if t.run.Group.IsLeader() {
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
		if t.interruptsReachAll() && t.engine.Abandon() {
			t.run.Group.Leave()
			return t.saveAbandoned()
		}
	}
}

// saveIfLost saves the state before the step that failed because another process was lost. After
// an interrupt that process has abandoned the step.
func (t *Trainer) saveIfLost(ctx context.Context, cause error) error {
	if !t.run.Group.Lost() || t.engine.Updating() {
		return cause
	}
	if t.run.Group.IsLeader() {
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
	if !t.run.Group.IsLeader() {
		return ErrInterrupted
	}
	t.run.Log.Info("abandoning the step in progress, which would take too long", zap.Int("step", t.Step()+1), zap.Int("saved_step", t.Step()))
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
