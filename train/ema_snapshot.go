package train

import (
	"os"
	"path"
	"path/filepath"

	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/runconfig"
)

// snapshotDue reports whether to save a snapshot after the current step.
func (t *Trainer) snapshotDue() bool {
	o := t.config.Train
	return len(o.PowerEMA) > 0 && t.Step() > 0 && (t.Step()%o.SnapshotInterval() == 0 || t.done())
}

// saveSnapshot copies the power-function EMAs to host memory, and writes them in the background.
func (t *Trainer) saveSnapshot() error {
	path := checkpoint.SnapshotFile(t.run.Dir, t.Step())
	if !t.run.Group.IsLeader() || t.snapshots.holds(path) {
		return nil
	}
	dict, err := t.state().PackSnapshot()
	if err != nil {
		return err
	}
	t.snapshots.start(path, dict, false)
	return nil
}

// removeReplacedSnapshots deletes the snapshots that a new one replaces.
func (t *Trainer) removeReplacedSnapshots(o runconfig.Options, newest string) {
	step, _ := checkpoint.SnapshotStep(path.Join(checkpoint.SnapshotDir, filepath.Base(newest)))
	t.removeSnapshots(checkpoint.ReplacedSnapshots(o, checkpoint.Snapshots(t.run.Dir), step))
}

// removeLaterSnapshots deletes the snapshots of steps after the current one, which a run that has
// rolled back repeats with another seed.
func (t *Trainer) removeLaterSnapshots() {
	var later []int
	for _, step := range checkpoint.Snapshots(t.run.Dir) {
		if step > t.Step() {
			later = append(later, step)
		}
	}
	t.removeSnapshots(later)
}

func (t *Trainer) removeSnapshots(steps []int) {
	for _, step := range steps {
		if err := os.Remove(checkpoint.SnapshotFile(t.run.Dir, step)); err != nil {
			t.run.Log.Warn("cannot remove an EMA snapshot", zap.Error(err))
		}
	}
}
