package train

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/train/metrics"
)

// New begins a run: it checks the configuration, opens the data, builds the
// network and makes the run folder, which must not hold a run yet and is locked
// against other processes.
func New(c Config, r Run) (*Trainer, error) {
	return begin(r, func(t *Trainer) (*Checkpoint, error) {
		if err := c.Validate(); err != nil {
			return nil, err
		}
		t.config, t.isNew = c, true
		t.config.Anchor()
		return nil, refuseRun(r.Dir)
	})
}

// Join joins in what the leading process of r.Group does, which is a New, a Resume or
// a ResumeReference, or a [distributed.Group.SyncError] with an error before it. The
// configuration is that one's, and so is the run folder.
func Join(r Run) (*Trainer, error) {
	return begin(r, func(*Trainer) (*Checkpoint, error) { panic("train.Follow: this process leads") })
}

// begin makes a trainer. plan, which only the leading process calls, decides on the
// configuration and returns what to go on from, or nil.
func begin(r Run, configure func(*Trainer) (*Checkpoint, error)) (*Trainer, error) {
	t := newTrainer(r)
	var from *Checkpoint
	err := t.group.OnLeader(func() (err error) {
		if from, err = configure(t); err == nil {
			err = t.resolve()
		}
		return err
	})
	if err == nil {
		err = t.assemble(from)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// resolve makes the configuration one for all processes: batches part evenly, and
// what depends on the machine is as on the leading one.
func (t *Trainer) resolve() error {
	if err := t.config.Train.CheckParts(t.group.Size()); err != nil {
		return err
	}
	if err := t.choosePrecision(); err != nil {
		return err
	}
	return t.chooseMicrobatch()
}

func refuseRun(dir string) error {
	if Exists(dir) {
		return fmt.Errorf("%s holds a run already: go on with it by `iddpm resume %s`, or name another --run-dir", dir, dir)
	}
	return nil
}

// Change alters the configuration of a run that is to go on.
type Change func(*Config) error

// Resume goes on with the run that a checkpoint, or the newest readable
// checkpoint of a run folder, belongs to. A run that was killed before its first
// checkpoint begins again, to the same numbers. A run folder that is not the
// run's own must not hold a run yet. change, unless it is nil, may alter where the
// images are, how many of them may be bad, when training ends, and the threads:
// of the rest of the configuration the checkpoint is made.
func Resume(path string, change Change, r Run) (*Trainer, error) {
	return begin(r, func(t *Trainer) (*Checkpoint, error) {
		if t.run.Dir == "" {
			t.run.Dir = RunDirOf(path)
		}
		// A folder of another run would be overwritten: its configuration, its log and
		// the checkpoints of the same steps.
		if t.isNew = !BelongsTo(path, t.run.Dir); t.isNew {
			if err := refuseRun(t.run.Dir); err != nil {
				return nil, err
			}
		}
		return t.resume(path, change)
	})
}

func (t *Trainer) resume(path string, change Change) (*Checkpoint, error) {
	if _, err := os.Stat(path); err == nil && Exists(t.run.Dir) {
		// Before the newest checkpoint is chosen: another process may be writing a
		// newer one.
		if err := t.lock(); err != nil {
			return nil, err
		}
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = RunDirOf(path)
	}
	from, err := t.find(path)
	if err != nil {
		return nil, err
	}
	t.resumed = true
	t.config.Train.Threads = t.resumedThreads(from)
	return from, t.alter(change, from)
}

// resumedThreads returns how many threads a run goes on with: as many as it had, so far
// as there are cores. With more they would wait for one another, and with many more
// practically forever. Among another number of processes they are parted anew.
func (t *Trainer) resumedThreads(from *Checkpoint) int {
	if from != nil && cmp.Or(from.Environment["processes"], "1") != strconv.Itoa(t.group.Size()) {
		return 0
	}
	return min(t.config.Train.Threads, t.group.CPUs())
}

// alter has the configuration changed, and refuses an end that the run has
// passed: it would only make the configuration wrong.
func (t *Trainer) alter(change Change, from *Checkpoint) error {
	if change == nil {
		return nil
	}
	was := t.config.Train.TotalSteps()
	if err := change(&t.config); err != nil {
		return err
	}
	t.config.Anchor()
	if end := t.config.Train.TotalSteps(); from != nil && end != was && end > 0 && end < from.Step {
		return fmt.Errorf("%s: has taken %d steps, so it cannot end at step %d: raise --steps, or leave it out", from.Path, from.Step, end)
	}
	return t.config.Validate()
}

// find reads the checkpoint to go on from and takes its configuration. It is nil
// for a run folder without one.
func (t *Trainer) find(path string) (*Checkpoint, error) {
	c, err := LoadCheckpoint(path)
	if errors.Is(err, errNoCheckpoint) {
		config, configErr := readConfig(path)
		if errors.Is(configErr, os.ErrNotExist) {
			return nil, err
		}
		t.log.Info("the run was stopped before its first checkpoint: it begins again", zap.String("run", path))
		t.config = config
		return nil, configErr
	}
	if err != nil {
		return nil, err
	}
	if c.Optimizer == nil {
		return nil, fmt.Errorf("%s holds weights but no training state: train from it with --init-from %s", c.Path, c.Path)
	}
	t.config, t.saver.safe, t.known = c.Config, c.Path, c.ClassNames
	t.warnOfNewer(path, c)
	return c, nil
}

// warnOfNewer speaks up where the run folder holds a newer checkpoint than the
// one that path led to.
func (t *Trainer) warnOfNewer(path string, c *Checkpoint) {
	files := checkpointsIn(t.run.Dir)
	if len(files) == 0 || stepOf(files[0]) <= c.Step {
		return
	}
	message := "the newest checkpoint cannot be read: an older one is taken"
	if path == c.Path {
		message = "the folder holds a newer checkpoint, which resuming the folder takes until this run is beyond it: move it away, or name another --run-dir"
	}
	t.log.Warn(message, zap.String("newest", files[0]), zap.String("taken", c.Path))
}

func newTrainer(r Run) *Trainer {
	if r.Log == nil {
		r.Log = zap.NewNop()
	}
	return &Trainer{run: r, log: r.Log, device: r.Device, group: r.Group, health: health{log2LossScale: initialLog2LossScale}}
}

// assemble builds the trainer; with a checkpoint it restores that state. No process
// takes a step before all have taken the one before it.
func (t *Trainer) assemble(from *Checkpoint) error {
	for _, step := range []func() error{
		t.broadcastConfig,
		t.openData,
		t.sameData,
		func() error { return t.onTensorThread(func() error { return t.build(from) }) },
		func() error { return t.onTensorThread(t.broadcastState) },
		t.openRunFolder,
		t.openLoader,
	} {
		if err := t.group.SyncError(step()); err != nil {
			return err
		}
	}
	return nil
}

// openRunFolder makes the run folder, its configuration and its metrics, where
// this process leads.
func (t *Trainer) openRunFolder() (err error) {
	if !t.group.IsLeader() {
		return nil
	}
	for _, sub := range []string{checkpointDir, "samples"} {
		if err := os.MkdirAll(filepath.Join(t.run.Dir, sub), 0o777); err != nil {
			return fmt.Errorf("cannot make the run folder: %w", err)
		}
	}
	if err := t.lock(); err != nil {
		return err
	}
	if t.isNew { // another process may have begun a run here since New looked
		if err := refuseRun(t.run.Dir); err != nil {
			return err
		}
	}
	removeLeftovers(t.run.Dir)
	t.saver.log, t.saver.keep, t.saver.keepEvery = t.log, t.config.Train.Keep, t.config.Train.KeepEvery
	if t.importedFromReference { // a folder with a configuration alone would begin at step 0
		if err := t.saveNow(); err != nil {
			return err
		}
	}
	if err := writeConfig(t.run.Dir, t.config); err != nil {
		return err
	}
	return t.openMetrics()
}

// openMetrics opens the run folder's metrics at the present step.
func (t *Trainer) openMetrics() (err error) {
	if t.metrics != nil {
		err = t.metrics.Close()
		t.metrics = nil
	}
	if err == nil {
		t.metrics, err = metrics.Open(t.run.Dir, t.current)
	}
	return err
}

func (t *Trainer) openLoader() (err error) {
	t.loader, err = data.NewLoader(t.dataset, data.LoaderOptions{
		BatchSize:  t.share(),
		Rank:       t.group.Rank(),
		WorldSize:  t.group.Size(),
		Seed:       t.seed(),
		Position:   t.position,
		Flip:       t.config.Data.Flip,
		RandomCrop: t.config.Data.RandomCrop,
	})
	return err
}

// warnOfDifferences says what makes a resumed run differ, in the last bits or
// at all, from one that was never stopped.
func (t *Trainer) warnOfDifferences(c *Checkpoint) {
	now := t.environment()
	for _, key := range []string{"libtorch", "cpu_capability", "device", "processes", "jpeg_decoder"} {
		if was, known := c.Environment[key]; known && was != now[key] {
			t.log.Warn("the results may differ in their last bits from an uninterrupted run's",
				zap.String("reason", key), zap.String("was", was), zap.String("is", now[key]))
		}
	}
	if changes := c.Environment[adaptedThreads]; changes != "" {
		t.log.Warn("the results may differ in their last bits from an uninterrupted run's",
			zap.String("reason", "the number of threads followed what other programs left free"), zap.String("threads", changes))
		t.adapted = parseThreadHistory(changes)
		t.adapted.note(t.config.Train.Threads, c.Step)
	}
	was, is := c.Config.Train.Threads, t.config.Train.Threads
	if was > 0 && was != is && t.device.Type == gotorch.CPU {
		t.log.Warn("the results may differ in their last bits from an uninterrupted run's",
			zap.String("reason", "threads"), zap.Int("was", was), zap.Int("is", is), zap.Int("cores", t.group.CPUs()))
	}
	if c.DataFingerprint != "" && c.DataFingerprint != t.dataset.Fingerprint() {
		t.log.Warn("the images are not those that the run began with", zap.String("data", t.dataset.Name()))
	}
}
