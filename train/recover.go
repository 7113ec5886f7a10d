package train

import (
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/distributed"
	"iddpm/train/engine"
)

// recover rolls back to the last checkpoint, once. The second time it returns an error that
// names the first non-finite layer in the last batch.
func (t *Trainer) recover() error {
	where, err := t.diagnoseAll()
	if err != nil {
		return err
	}
	steps := t.engine.Health().SkippedInARow
	if t.rollbacks > 0 {
		return t.run.Group.SyncError(&DivergedError{RunDir: t.run.Dir, Steps: steps, Step: t.Step(), Where: where})
	}
	t.run.Log.Error("the loss or the gradient is not finite: rolling back to the last checkpoint, with another seed",
		zap.Int("steps", steps), zap.Int("step", t.Step()), zap.String("where", where))
	t.rollbacks++
	return t.rollBack()
}

// diagnoseAll diagnoses on all ranks, and returns the finding of the lowest rank that has one.
func (t *Trainer) diagnoseAll() (string, error) {
	all, err := distributed.AllGather(t.run.Group, t.engine.Diagnose())
	for _, where := range all {
		if where != engine.AllFinite {
			return where, err
		}
	}
	return engine.AllFinite, err
}

// rollBack rebuilds the run from its last checkpoint with the next attempt's seed. Without
// a checkpoint it starts from step 0.
func (t *Trainer) rollBack() error {
	group := t.run.Group
	_ = t.saver.wait() // an error is already in the log
	var from *checkpoint.Checkpoint
	err := group.OnLeader(func() (err error) {
		if t.saver.safe != "" {
			from, err = checkpoint.Load(t.saver.safe)
		}
		return err
	})
	if err != nil {
		return err
	}
	attempt := t.engine.Health().Attempt + 1
	t.batches.Close()
	t.meter.drop()
	t.engine.Close()
	t.engine, t.position = nil, 0
	if err := group.SyncError(t.build(from, attempt)); err != nil {
		return err
	}
	if err := t.broadcastState(); err != nil {
		return err
	}
	t.engine.Retry(attempt)
	if group.IsLeader() {
		_ = t.snapshots.finish() // an error is already in the log
		t.snapshots.safe = ""    // it may be one of those
		t.removeLaterSnapshots()
	}
	t.stage = checkpointed
	if err := group.OnLeader(t.openMetrics); err != nil {
		return err
	}
	return t.openBatches()
}
