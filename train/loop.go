package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/train/engine"
)

// loop trains until the run's last step, or until ctx is cancelled.
func (t *Trainer) loop(ctx context.Context) error {
	t.meter.start()
	for !t.done() {
		if err := t.next(ctx); err != nil {
			return err
		}
		if t.observersDue() {
			if err := t.runObservers(ctx); err != nil {
				return t.stopped(err)
			}
		}
		if t.evaluationDue() {
			if err := t.evaluateHeldOut(ctx); err != nil {
				return t.stopped(err)
			}
		}
		if err := t.saveBest(); err != nil {
			return err
		}
		if t.snapshotDue() {
			if err := t.saveSnapshot(); err != nil {
				return err
			}
		}
		if t.savesNow() {
			t.stage = saveOverdue
		}
		if t.done() || t.stage == saveOverdue && t.healthy() {
			if err := t.save(t.done()); err != nil {
				return err
			}
			t.stage = checkpointed
		}
	}
	return t.run.Group.OnLeader(func() error { return errors.Join(t.saver.wait(), t.snapshots.finish()) })
}

// next runs one step, or saves and stops if ctx is cancelled in any process.
func (t *Trainer) next(ctx context.Context) error {
	batch, err := t.waitForBatch(ctx)
	err = t.withStepTimeout(func() error { return t.syncStop(ctx, err) })
	if err != nil {
		return t.stopped(err)
	}
	t.threads.adapt(t.Step())
	var result *engine.Result
	err = t.withStepTimeout(func() (err error) {
		if result, err = t.step(batch); err == nil && t.readsStep() {
			result.Values()
		}
		return err
	})
	if err != nil {
		return err
	}
	t.batches.Recycle(batch)
	if err = t.observe(result); errors.Is(err, errDiverged) {
		return t.recover()
	}
	if err != nil || t.run.OnStep == nil {
		return err
	}
	if err = t.syncStop(ctx, t.run.OnStep(result)); err != nil {
		return t.stopped(err)
	}
	return nil
}

// step runs one optimizer step. In cuDNN's benchmark mode it logs the first step of a process:
// cuDNN times all its algorithms for each convolution, which may take minutes.
func (t *Trainer) step(batch data.Batch) (*engine.Result, error) {
	benchmarks := t.meter.rows == 0 && t.run.Device.Type == gotorch.CUDA && !t.config.Train.Deterministic
	if benchmarks {
		t.run.Log.Info("first step: cuDNN benchmarks its convolution algorithms, which may take a minute or more; later steps are faster")
	}
	start := time.Now()
	r, err := t.engine.Step(engine.Batch{Pixels: batch.Pixels, Labels: batch.Labels})
	if err != nil {
		return nil, err
	}
	t.position = batch.Position + int64(t.config.Train.BatchSize)
	if benchmarks {
		gotorch.CUDASynchronize(t.run.Device)
		t.run.Log.Info("first step done", zap.Float64("seconds", time.Since(start).Seconds()))
	}
	return r, nil
}

// readsStep reports whether the result of the last step is needed at once, for the log, an
// observer, an evaluation or a checkpoint. Reading it waits for a GPU, which may wait for another process,
// so it is read within the timeout.
func (t *Trainer) readsStep() bool {
	return t.syncEveryStep || t.logs() || t.observersDue() || t.evaluationDue() || t.stage == saveOverdue || t.savesNow()
}

// savesNow reports whether the current step ends a save interval.
func (t *Trainer) savesNow() bool { return t.Step()%t.config.Train.SaveInterval == 0 }

func (t *Trainer) waitForBatch(ctx context.Context) (data.Batch, error) {
	defer t.meter.waiting()()
	return t.batches.Next(ctx)
}

// stopped saves before training ends by an interrupt, or by an error that does not affect
// the weights, such as an image that cannot be read.
func (t *Trainer) stopped(cause error) error {
	group := t.run.Group
	if group.Lost() { // saving would wait for the GPU, and the GPU for the lost process
		return cause
	}
	err := t.withStepTimeout(func() error { t.healthy(); return nil })
	if err == nil {
		err = group.OnLeader(t.saveLast)
	}
	switch {
	case err != nil && errors.Is(cause, ErrInterrupted):
		return err
	case err != nil:
		return errors.Join(cause, err)
	case errors.Is(cause, ErrInterrupted):
		return cause
	}
	return t.savedDespite(cause)
}

// savedDespite adds to an error that the run is saved.
func (t *Trainer) savedDespite(cause error) error {
	if !t.run.Group.IsLeader() {
		return fmt.Errorf("%w\nthe run is saved", cause)
	}
	return fmt.Errorf("%w\nthe run is saved as %s: resume it by iddpm resume %s", cause, t.saver.safe, t.run.Dir)
}
