package train

import (
	"encoding/json"
	"iddpm/runconfig"
	"os"
	"path"
	"path/filepath"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
)

// snapshotDue reports whether to save a snapshot after the current step.
func (t *Trainer) snapshotDue() bool {
	o := t.config.Train
	return len(o.PowerEMA) > 0 && t.Step() > 0 && (t.Step()%o.SnapshotInterval() == 0 || t.done())
}

// saveSnapshot copies the power-function EMAs to host memory, and writes them in the background.
func (t *Trainer) saveSnapshot() error {
	path := snapshotFile(t.run.Dir, t.Step())
	if !t.run.Group.IsLeader() || t.snapshots.holds(path) {
		return nil
	}
	dict, err := t.packSnapshot()
	if err != nil {
		return err
	}
	t.snapshots.start(path, dict, false)
	return nil
}

// packSnapshot copies the power-function EMAs, in float16, which is a quarter of the size of
// weights with one EMA and AdamW's moments.
func (t *Trainer) packSnapshot() (*pt.Dict, error) {
	config, err := json.Marshal(t.config)
	if err != nil {
		return nil, err
	}
	o, averages, state := t.config.Train, new(pt.Dict), t.engine.State()
	for i, length := range o.PowerEMA {
		gotorch.Scope(func() {
			var halves []gotorch.Tensor
			for _, x := range state.EMA[len(o.EMARates)+i] {
				halves = append(halves, x.CastTo(gotorch.Half))
			}
			averages.Set(powerKey(length), t.engine.Network().PackStateDict(halves))
		})
	}
	return dictOf("format", int64(formatVersion), "config", string(config), "step", int64(t.Step()),
		"data", packData(t.data, t.position), snapshotKey, averages), nil
}

// removeReplacedSnapshots deletes the snapshots that a new one replaces.
func (t *Trainer) removeReplacedSnapshots(o runconfig.Options, newest string) {
	step, _ := SnapshotStep(path.Join(SnapshotDir, filepath.Base(newest)))
	t.removeSnapshots(replacedSnapshots(o, snapshotsIn(t.run.Dir), step))
}

// removeLaterSnapshots deletes the snapshots of steps after the current one, which a run that has
// rolled back repeats with another seed.
func (t *Trainer) removeLaterSnapshots() {
	var later []int
	for _, step := range snapshotsIn(t.run.Dir) {
		if step > t.Step() {
			later = append(later, step)
		}
	}
	t.removeSnapshots(later)
}

func (t *Trainer) removeSnapshots(steps []int) {
	for _, step := range steps {
		if err := os.Remove(snapshotFile(t.run.Dir, step)); err != nil {
			t.run.Log.Warn("cannot remove an EMA snapshot", zap.Error(err))
		}
	}
}
