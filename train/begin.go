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

// New starts a run: it validates the configuration, opens the data, builds the network,
// and creates and locks the run folder, which must not hold a run yet.
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

// Join starts a rank other than 0 of r.Group, while rank 0 calls New, Resume or
// ResumeReference, or [distributed.Group.SyncError] with an error before that. Rank 0
// sends the configuration and the run folder.
func Join(r Run) (*Trainer, error) {
	return begin(r, func(*Trainer) (*Checkpoint, error) { panic("train.Join: called by rank 0") })
}

// begin makes a trainer. configure, which only rank 0 calls, sets the configuration and
// returns the checkpoint to resume from, or nil.
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

// resolve checks that batches can be divided among the processes, and replaces "auto"
// settings by rank 0's choice.
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
		return fmt.Errorf("%s already holds a run: resume it by `iddpm resume %s`, or name another --run-dir", dir, dir)
	}
	return nil
}

// Change alters the configuration of a run before it is resumed.
type Change func(*Config) error

// Resume resumes a run from a checkpoint file, or from the newest readable checkpoint
// of a run folder. A run killed before its first checkpoint starts again, with the same
// results. A run folder other than the run's own must not hold a run yet. change, if not
// nil, may alter the location of the images, how many of them may be unreadable, the last
// step and the number of threads: the checkpoint depends on the rest of the configuration.
func Resume(path string, change Change, r Run) (*Trainer, error) {
	return begin(r, func(t *Trainer) (*Checkpoint, error) {
		if t.run.Dir == "" {
			t.run.Dir = RunDirOf(path)
		}
		// The configuration, log and equal-numbered checkpoints of another run's folder
		// would be overwritten.
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
		// Lock before choosing the newest checkpoint: another process may be writing a
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

// resumedThreads returns the number of threads of a resumed run: as many as it had, but at
// most one per core, since oversubscribed OpenMP threads wait for one another. With another
// number of processes it is 0: the cores are divided again.
func (t *Trainer) resumedThreads(from *Checkpoint) int {
	if from != nil && cmp.Or(from.Environment["processes"], "1") != strconv.Itoa(t.group.Size()) {
		return 0
	}
	return min(t.config.Train.Threads, t.group.CPUs())
}

// alter applies change to the configuration, and refuses a last step that the run has
// already passed.
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
		return fmt.Errorf("%s: is at step %d, so the run cannot end at step %d: raise --steps, or leave it out", from.Path, from.Step, end)
	}
	return t.config.Validate()
}

// find reads the checkpoint to resume from and uses its configuration. It returns nil
// for a run folder without a checkpoint.
func (t *Trainer) find(path string) (*Checkpoint, error) {
	c, err := LoadCheckpoint(path)
	if errors.Is(err, errNoCheckpoint) {
		config, configErr := readConfig(path)
		if errors.Is(configErr, os.ErrNotExist) {
			return nil, err
		}
		t.log.Info("the run was stopped before its first checkpoint: starting again from step 0", zap.String("run", path))
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

// warnOfNewer warns if the run folder holds a newer checkpoint than the one resumed.
func (t *Trainer) warnOfNewer(path string, c *Checkpoint) {
	files := checkpointsIn(t.run.Dir)
	if len(files) == 0 || stepOf(files[0]) <= c.Step {
		return
	}
	message := "the newest checkpoint cannot be read: resuming from an older one"
	if path == c.Path {
		message = "the folder holds a newer checkpoint: resuming the folder uses that one until this run has passed its step; move it away, or name another --run-dir"
	}
	t.log.Warn(message, zap.String("newest", files[0]), zap.String("used", c.Path))
}

func newTrainer(r Run) *Trainer {
	if r.Log == nil {
		r.Log = zap.NewNop()
	}
	return &Trainer{run: r, log: r.Log, device: r.Device, group: r.Group, health: health{log2LossScale: initialLog2LossScale}}
}

// assemble builds the trainer, and restores the state of a checkpoint if there is one. Each
// stage ends in all processes before the next begins.
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

// openRunFolder creates the run folder, its configuration file and its metrics files, on
// rank 0.
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
	if t.isNew { // another process may have started a run here since New checked
		if err := refuseRun(t.run.Dir); err != nil {
			return err
		}
	}
	removeLeftovers(t.run.Dir)
	t.saver.log, t.saver.keep, t.saver.keepEvery = t.log, t.config.Train.Keep, t.config.Train.KeepEvery
	if t.importedFromReference { // a folder with nothing but a configuration would start at step 0
		if err := t.saveNow(); err != nil {
			return err
		}
	}
	if err := writeConfig(t.run.Dir, t.config); err != nil {
		return err
	}
	return t.openMetrics()
}

// openMetrics opens the metrics files of the run folder at the current step.
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
		BatchSize:  t.localBatch(),
		Rank:       t.group.Rank(),
		WorldSize:  t.group.Size(),
		Seed:       t.seed(),
		Position:   t.position,
		Flip:       t.config.Data.Flip,
		RandomCrop: t.config.Data.RandomCrop,
	})
	return err
}

// warnOfDifferences logs what makes a resumed run differ, in the last bits or entirely,
// from an uninterrupted one.
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
			zap.String("reason", "the number of threads was adapted to the load of other programs"), zap.String("threads", changes))
		t.adapted = parseThreadHistory(changes)
		t.adapted.note(t.config.Train.Threads, c.Step)
	}
	was, is := c.Config.Train.Threads, t.config.Train.Threads
	if was > 0 && was != is && t.device.Type == gotorch.CPU {
		t.log.Warn("the results may differ in their last bits from an uninterrupted run's",
			zap.String("reason", "threads"), zap.Int("was", was), zap.Int("is", is), zap.Int("cores", t.group.CPUs()))
	}
	if c.DataFingerprint != "" && c.DataFingerprint != t.dataset.Fingerprint() {
		t.log.Warn("the images differ from those that the run was started with", zap.String("data", t.dataset.Name()))
	}
}
