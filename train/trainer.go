package train

import (
	"context"
	"errors"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/distributed"
	"iddpm/runconfig"
	"iddpm/train/engine"
	"iddpm/train/metrics"
)

// Run is the environment of a run, which is not part of its configuration.
type Run struct {
	Dir    string             // the run folder
	Device gotorch.Device     // device of all tensors
	Group  *distributed.Group // the data-parallel processes; nil: only this one
	Log    *zap.Logger        // nil: silent; only rank 0 needs to log
	Data   Data               // the images; nil: those of Config.Data
	// OnStep is called after every step, on the tensor thread, in all processes or none. The
	// result is valid during the call; reading its values waits for the device. An error ends
	// training, after a save. nil: no call.
	OnStep func(*engine.Result) error
	// Observers are asked after every step whether they have work to do, in this order.
	Observers []Observer
	// OnRow is called with every row of metrics, on the tensor thread of rank 0; nil: no call.
	OnRow func(metrics.Row)
	// OnSaved is called in the background with the path of every checkpoint that is complete on
	// the disk, on rank 0; nil: no call.
	OnSaved func(checkpoint string)
	// Progress is called after every step, on the tensor thread; nil: no call.
	Progress func(Progress)
	// AdaptThreads lets training on the CPU lower libtorch's number of threads while other
	// programs use the cores, unless Options.Threads or OMP_NUM_THREADS has chosen it. Without, a
	// warning says so.
	AdaptThreads bool
	// StepTimeout is how long processes wait for one another within a step and for its batch;
	// 0: an hour. After that, a missing process counts as lost.
	StepTimeout time.Duration
	// Load reads a checkpoint that the configuration names, such as InitFrom; nil:
	// [checkpoint.Load].
	Load func(checkpoint string) (*checkpoint.Checkpoint, error)
}

// Summary is the result of a run.
type Summary struct {
	Step       int                `json:"step"`
	FirstLoss  float64            `json:"first_loss"` // mean over the first log interval
	LastLoss   float64            `json:"last_loss"`  // mean over the last log interval
	Seconds    float64            `json:"seconds"`    // of training in this process
	Checkpoint string             `json:"checkpoint"` // path of the newest
	RunDir     string             `json:"run_dir"`
	Weights    checkpoint.Weights `json:"-"` // those used by default, without the tensors
}

// origin is what a run starts from.
type origin int

const (
	newRun      origin = iota // initial weights, in a new run folder
	importedRun               // files of the reference, in a new run folder
	resumedRun                // a checkpoint, in the run's own folder
	movedRun                  // a checkpoint, in a new run folder
)

// resumed reports whether an earlier process started the run.
func (o origin) resumed() bool { return o == resumedRun || o == movedRun }

// stage is what training must do next about checkpoints.
type stage int

const (
	checkpointed stage = iota // the last save interval has its checkpoint
	saveOverdue               // the last save interval has none: save after the next finite step
)

// Trainer trains one run. A checkpoint holds all of its state that changes.
type Trainer struct {
	config runconfig.Config
	run    Run
	origin origin
	known  []string // names of the classes trained before, by label; nil: none

	engine   *engine.Engine
	data     Data
	batches  Batches
	position int64 // images consumed from the data's endless sequence
	threads  cpuThreads

	lock    *folderLock // the lock on the run folder; nil: not locked
	saver   saver
	metrics *metrics.Writer // nil except on rank 0

	best      best  // only on rank 0
	bestSaver saver // writes the best checkpoint
	snapshots saver // writes the snapshots of power-function EMAs

	meter   meter
	heldOut heldOut // empty unless the run evaluates

	stage         stage
	rollbacks     int  // in this process
	syncEveryStep bool // the host reads every step's result, not only at the log interval
}

// Config returns the run's configuration, with "auto" resolved.
func (t *Trainer) Config() runconfig.Config { return t.config }

// Settings returns the process-wide settings for [gotorch.Configure] with which the run is meant
// to train: those of its engine, and its number of threads. Results are exact to the bit only
// with these. Creating a Trainer applies none.
func (t *Trainer) Settings() gotorch.Settings {
	s := t.engine.Settings()
	s.Threads = t.config.Train.Threads
	return s
}

// Step returns the number of optimizer steps so far.
func (t *Trainer) Step() int { return t.engine.CurrentStep() }

// Summary returns the result of the run in this process.
func (t *Trainer) Summary() Summary {
	_, weights := checkpoint.DefaultWeights(t.config.Train, t.Step())
	return Summary{
		Weights: weights,
		Step:    t.Step(), FirstLoss: t.meter.first, LastLoss: t.meter.shown.Loss,
		Seconds: time.Since(t.meter.started).Seconds(), Checkpoint: t.saver.safe, RunDir: t.run.Dir,
	}
}

// done reports whether the last step was the run's last.
func (t *Trainer) done() bool {
	total := t.config.Train.TotalSteps()
	return total > 0 && t.Step() >= total
}

// Close stops the batches, waits for a checkpoint that is being written, frees the tensors
// and unlocks the run folder.
func (t *Trainer) Close() error {
	if t.batches != nil {
		t.batches.Close()
	}
	err := errors.Join(t.saver.wait(), t.bestSaver.finish(), t.snapshots.finish())
	if t.metrics != nil {
		err = errors.Join(err, t.metrics.Close())
	}
	if d, ok := t.data.(dataset); ok {
		err = errors.Join(err, d.Close())
	}
	switch {
	case t.engine == nil:
	case t.engine.Abandoned():
		go gotorch.Run(t.engine.Close) // once the step has ended
	case t.run.Group.Lost(): // freeing would wait for the GPU, and the GPU for the lost process
	default:
		err = errors.Join(err, gotorch.Try(func() { gotorch.Run(t.engine.Close) }))
	}
	return errors.Join(err, t.lock.release())
}

// lockFolder locks the run folder, once. It logs a warning if the file system has no locks.
func (t *Trainer) lockFolder() error {
	if t.lock != nil {
		return nil
	}
	l, err := lockFolder(t.run.Dir)
	if errors.Is(err, errCannotLock) {
		t.run.Log.Warn("the run folder cannot be locked: do not start a second process in it", zap.String("reason", err.Error()))
		return nil
	}
	if err != nil {
		return errors.Join(err, l.release())
	}
	t.lock = l
	return nil
}

// refuseRun returns an error if a folder already holds a run.
func refuseRun(dir string) error {
	if checkpoint.HoldsRun(dir) {
		return &RunExistsError{dir}
	}
	return nil
}

// Observer works with the network of a run between two steps, for example to sample from it:
// see package preview. It must leave weights and training state as they are. All processes of a
// run have equal observers.
type Observer interface {
	// Due reports whether to call Observe after the current step, before that step's evaluation
	// and checkpoint. The answer is the same in all processes, and if asked again.
	Due(t *Trainer) bool
	// Observe runs on the tensor thread, in all processes. An error ends training, after a save. If
	// ctx ends in one process, it returns [context.Canceled] in all, as package inference does.
	Observe(ctx context.Context, t *Trainer) error
}
