package train

import (
	"cmp"
	"errors"
	"os"
	"strconv"

	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/runconfig"
)

// New starts a run: it validates the configuration, opens the data, builds the network,
// and creates and locks the run folder, which must not hold a run yet.
func New(c runconfig.Config, r Run) (*Trainer, error) {
	return begin(r, func(t *Trainer) (*checkpoint.Checkpoint, error) {
		if err := c.Validate(); err != nil {
			return nil, err
		}
		t.config, t.origin = c, newRun
		t.config.Anchor()
		return nil, refuseRun(r.Dir)
	})
}

// Join starts a rank other than 0 of r.Group, while rank 0 calls New, Resume or
// ResumeReference, or [distributed.Group.SyncError] with an error before that. Rank 0
// sends the configuration and the run folder.
func Join(r Run) (*Trainer, error) {
	return begin(r, func(*Trainer) (*checkpoint.Checkpoint, error) { panic("train.Join: called by rank 0") })
}

// begin makes a trainer. configure, which only rank 0 calls, sets the configuration and
// returns the checkpoint to resume from, or nil.
func begin(r Run, configure func(*Trainer) (*checkpoint.Checkpoint, error)) (*Trainer, error) {
	t := newTrainer(r)
	var from *checkpoint.Checkpoint
	err := r.Group.OnLeader(func() (err error) {
		if from, err = configure(t); err == nil {
			err = resolve(&t.config, r.Device, r.Group, t.origin.resumed(), t.run.Log)
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

// Change alters the configuration of a run before it is resumed.
type Change func(*runconfig.Config) error

// Resume resumes a run from a checkpoint file, or from the newest readable checkpoint
// of a run folder. A run killed before its first checkpoint starts again, with the same
// results. A run folder other than the run's own must not hold a run yet. change, if not
// nil, may alter the location of the images, how many of them may be unreadable, the last
// step and the number of threads: the checkpoint depends on the rest of the configuration.
func Resume(path string, change Change, r Run) (*Trainer, error) {
	return begin(r, func(t *Trainer) (*checkpoint.Checkpoint, error) {
		if t.run.Dir == "" {
			t.run.Dir = RunDirOf(path)
		}
		t.origin = resumedRun
		if !BelongsTo(path, t.run.Dir) {
			// The configuration, log and equal-numbered checkpoints of another run's folder
			// would be overwritten.
			t.origin = movedRun
			if err := refuseRun(t.run.Dir); err != nil {
				return nil, err
			}
		}
		return t.resume(path, change)
	})
}

func (t *Trainer) resume(path string, change Change) (*checkpoint.Checkpoint, error) {
	if _, err := os.Stat(path); err == nil && checkpoint.HoldsRun(t.run.Dir) {
		// Lock before choosing the newest checkpoint: another process may be writing a
		// newer one.
		if err := t.lockFolder(); err != nil {
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
	t.config.Train.Threads = t.resumedThreads(from)
	return from, t.alter(change, from)
}

// resumedThreads returns the number of threads of a resumed run: as many as it had, but at
// most one per core, since oversubscribed OpenMP threads wait for one another. With another
// number of processes it is 0: the cores are divided again.
func (t *Trainer) resumedThreads(from *checkpoint.Checkpoint) int {
	if from != nil && cmp.Or(from.Environment["processes"], "1") != strconv.Itoa(t.run.Group.Size()) {
		return 0
	}
	return min(t.config.Train.Threads, t.run.Group.CPUs())
}

// alter applies change to the configuration, and refuses a last step that the run has
// already passed.
func (t *Trainer) alter(change Change, from *checkpoint.Checkpoint) error {
	if change == nil {
		return nil
	}
	was := t.config.Train.TotalSteps()
	if err := change(&t.config); err != nil {
		return err
	}
	t.config.Anchor()
	if end := t.config.Train.TotalSteps(); from != nil && end != was && end > 0 && end < from.Step {
		return &PastEndError{from.Path, from.Step, end}
	}
	return t.config.Validate()
}

// find reads the checkpoint to resume from and uses its configuration. It returns nil
// for a run folder without a checkpoint.
func (t *Trainer) find(path string) (*checkpoint.Checkpoint, error) {
	c, err := checkpoint.Load(path)
	if errors.Is(err, checkpoint.ErrNone) {
		config, configErr := readConfig(path)
		if errors.Is(configErr, os.ErrNotExist) {
			return nil, err
		}
		t.run.Log.Info("the run was stopped before its first checkpoint: starting again from step 0", zap.String("run", path))
		t.config = config
		return nil, configErr
	}
	if err != nil {
		return nil, err
	}
	if c.Optimizer == nil {
		return nil, &checkpoint.NoStateError{Path: c.Path}
	}
	t.config, t.saver.safe, t.known = c.Config, c.Path, c.ClassNames
	t.warnOfNewer(path, c)
	return c, nil
}

// warnOfNewer warns if the run folder holds a newer checkpoint than the one resumed.
func (t *Trainer) warnOfNewer(path string, c *checkpoint.Checkpoint) {
	files := checkpoint.Files(t.run.Dir)
	if len(files) == 0 || checkpoint.StepOf(files[0]) <= c.Step {
		return
	}
	message := "the newest checkpoint cannot be read: resuming from an older one"
	if path == c.Path {
		message = "the folder holds a newer checkpoint: resuming the folder uses that one until this run has passed its step; move it away, or resume into another folder"
	}
	t.run.Log.Warn(message, zap.String("newest", files[0]), zap.String("used", c.Path))
}

// ResumeReference resumes a run of the reference. path is its model file, the EMA and
// optimizer files are found in the same folder, and c is the configuration of the network
// and the training. The new run folder must not hold a run yet; a checkpoint is saved there
// at once.
func ResumeReference(path string, c runconfig.Config, r Run) (*Trainer, error) {
	return begin(r, func(t *Trainer) (*checkpoint.Checkpoint, error) {
		if err := refuseRun(r.Dir); err != nil {
			return nil, err
		}
		from, err := checkpoint.ReadReference(path, c, t.run.Log)
		if err != nil {
			return nil, err
		}
		t.config, t.origin = from.Config, importedRun
		t.config.Anchor()
		return from, from.Config.Validate()
	})
}

func newTrainer(r Run) *Trainer {
	if r.Log == nil {
		r.Log = zap.NewNop()
	}
	return &Trainer{run: r, saver: saver{log: r.Log, saved: r.OnSaved}, bestSaver: saver{log: r.Log}, snapshots: saver{log: r.Log}}
}
