package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/internal/threads"
	"iddpm/model"
	"iddpm/train/metrics"
)

// Run is the environment of a run, which is not part of its configuration.
type Run struct {
	Dir      string             // the run folder
	Device   gotorch.Device     // device of all tensors
	Group    *distributed.Group // the data-parallel processes; nil: only this one
	Log      *zap.Logger        // nil: silent; only rank 0 needs to log
	Progress func(Progress)     // called after every step, on the tensor thread; may be nil
	// StepTimeout is how long processes wait for one another within a step and for its batch;
	// 0: an hour. After that, a missing process counts as lost.
	StepTimeout time.Duration
	// Load reads a checkpoint that the configuration names, such as InitFrom; nil:
	// [LoadCheckpoint].
	Load func(checkpoint string) (*Checkpoint, error)
}

// Progress is the progress of a run after a step. The metrics are those of the last log
// interval.
type Progress struct {
	Step, Total     int // Total is 0 for a run without a last step
	Loss            float64
	ImagesPerSecond float64
}

// Summary is the result of a run.
type Summary struct {
	Step       int     `json:"step"`
	FirstLoss  float64 `json:"first_loss"` // mean over the first log interval
	LastLoss   float64 `json:"last_loss"`  // mean over the last log interval
	Seconds    float64 `json:"seconds"`    // of training in this process
	Checkpoint string  `json:"checkpoint"` // path of the newest
	RunDir     string  `json:"run_dir"`
	Weights    Weights `json:"-"` // those used by default, without the tensors
}

// Trainer trains one run. A checkpoint holds all of its state that changes.
type Trainer struct {
	config    Config
	run       Run
	log       *zap.Logger
	device    gotorch.Device
	group     *distributed.Group
	precision precision

	network               *model.UNet
	diffusion             *diffusion.GaussianDiffusion
	sampler               diffusion.TimestepSampler
	optimizer             gotorch.Optimizer
	work                  *stepWork
	ema                   [][]gotorch.Tensor // per rate, per parameter
	dataset               *data.Dataset
	heldOut               heldOut // empty unless the run evaluates
	loader                *data.Loader
	metrics               *metrics.Writer // nil except on rank 0
	isNew                 bool            // the run folder must not hold a run yet
	importedFromReference bool            // the state is from files of the reference
	resumed               bool            // an earlier process started the run
	known                 []string        // names of the classes trained before, by label; nil: none
	locked                *folderLock     // the lock on the run folder; nil: not locked
	saver                 saver
	meter                 meter

	threads       *threads.Adapter
	adapted       threadHistory
	health        health
	syncEveryStep bool // the host reads every step's result, not only at the log interval
	rolledBack    bool // in this process
	saveOverdue   bool // save after the next finite step

	phase    phase
	current  int   // optimizer steps so far
	position int64 // images consumed from the data's endless sequence
}

// onTensorThread runs f on the tensor thread, and returns libtorch's exceptions as errors.
func (t *Trainer) onTensorThread(f func() error) error {
	if err := gotorch.LoadLibrary(); err != nil {
		return err
	}
	return t.group.OnTensorThread(f)
}

// Config returns the run's configuration, with "auto" resolved.
func (t *Trainer) Config() Config { return t.config }

// Step returns the number of optimizer steps so far.
func (t *Trainer) Step() int { return t.current }

// Close stops the loader, waits for a checkpoint that is being written, frees the tensors
// and unlocks the run folder.
func (t *Trainer) Close() error {
	if t.loader != nil {
		t.loader.Close()
	}
	err := t.saver.wait()
	if t.metrics != nil {
		err = errors.Join(err, t.metrics.Close())
	}
	if t.dataset != nil {
		err = errors.Join(err, t.dataset.Close())
	}
	switch {
	case t.network == nil:
	case t.phase.Load() == abandoned:
		go gotorch.Run(t.free) // once the step has ended
	case t.group.Lost(): // freeing would wait for the GPU, and the GPU for the lost process
	default:
		err = errors.Join(err, gotorch.Try(func() { gotorch.Run(t.free) }))
	}
	return errors.Join(err, t.locked.release())
}

func (t *Trainer) free() {
	if t.work != nil { // nil if building failed
		t.work.free()
	}
	t.network.Free()
	t.optimizer.Close()
	for _, average := range t.ema {
		for _, x := range average {
			x.Free()
		}
	}
}

// announce logs what is being trained.
func (t *Trainer) announce() {
	device := t.device.String()
	if t.device.Type == gotorch.CPU {
		device = fmt.Sprintf("cpu (%d threads, %s)", t.config.Train.Threads, gotorch.CPUCapability())
	}
	t.log.Info("training",
		zap.String("data", t.dataset.Name()), zap.Int("images", t.dataset.Len()),
		zap.Stringer("model", t.network), zap.Int("image_size", t.config.Model.ImageSize),
		zap.String("device", device), zap.Int("processes", t.group.Size()),
		zap.Int("batch_size", t.config.Train.BatchSize), zap.String("precision", t.config.Train.Precision),
		zap.Int("step", t.current), zap.Int("steps", t.config.Train.TotalSteps()),
		zap.String("run", t.run.Dir))
}

// ErrInterrupted says that training stopped because its context was cancelled, and that the
// run is saved.
var ErrInterrupted = errors.New("interrupted; the run is saved")

// Train trains until the run's last step, or until ctx is cancelled: then it saves and
// returns ErrInterrupted. On a CPU it abandons a step that continues for more than some
// seconds after that, and saves the state before the step. The tensor thread stays busy
// until the abandoned step ends. On a CPU the run is also saved if another process is lost.
func (t *Trainer) Train(ctx context.Context) error {
	t.announce()
	if t.holdsState() {
		return t.loopOrAbandon(ctx)
	}
	return t.onTensorThread(func() error { return t.loop(ctx) })
}

func (t *Trainer) loop(ctx context.Context) error {
	t.meter.start()
	for !t.done() {
		if err := t.next(ctx); err != nil {
			return err
		}
		if t.evaluationDue() {
			if err := t.evaluateHeldOut(ctx); err != nil {
				return t.stopped(err)
			}
		}
		t.saveOverdue = t.saveOverdue || t.savesNow()
		if t.done() || t.saveOverdue && t.healthy() {
			if err := t.save(t.done()); err != nil {
				return err
			}
			t.saveOverdue = false
		}
	}
	return t.group.OnLeader(t.saver.wait)
}

// next runs one step, or saves and stops if ctx is cancelled in any process.
func (t *Trainer) next(ctx context.Context) error {
	batch, err := t.waitForBatch(ctx)
	err = t.withStepTimeout(func() error { return t.syncStop(ctx, err) })
	if err != nil {
		return t.stopped(err)
	}
	t.adaptThreads()
	var result *stepResult
	err = t.withStepTimeout(func() (err error) {
		if result, err = t.stepThatFits(batch); err == nil && t.readsStep() {
			result.values()
		}
		return err
	})
	if err != nil {
		return err
	}
	t.loader.Recycle(batch)
	if err = t.observe(result); errors.Is(err, errDiverged) {
		return t.recover()
	}
	return err
}

// withStepTimeout limits how long processes wait for one another while f runs. The limit is
// generous enough for a slow disk or a step on a CPU, but not for an evaluation or for
// writing a checkpoint.
func (t *Trainer) withStepTimeout(f func() error) error {
	return t.group.Within(cmp.Or(t.run.StepTimeout, time.Hour), f)
}

// readsStep reports whether the result of the last step is needed at once, for the log, an
// evaluation or a checkpoint. Reading it waits for a GPU, which may wait for another process,
// so it is read within the timeout.
func (t *Trainer) readsStep() bool {
	return t.syncEveryStep || t.logs() || t.evaluationDue() || t.saveOverdue || t.savesNow()
}

// savesNow reports whether the current step ends a save interval.
func (t *Trainer) savesNow() bool { return t.current%t.config.Train.SaveInterval == 0 }

// syncStop returns nil in all processes, or an error in all of them: ErrInterrupted if ctx
// is cancelled in one, or the error of one.
func (t *Trainer) syncStop(ctx context.Context, mine error) error {
	err := t.group.SyncStop(ctx, mine)
	if errors.Is(err, context.Canceled) {
		return ErrInterrupted
	}
	return err
}

func (t *Trainer) waitForBatch(ctx context.Context) (data.Batch, error) {
	defer t.meter.waiting()()
	return t.loader.Next(ctx)
}

// stopped saves before training ends by an interrupt, or by an error that does not affect
// the weights, such as an image that cannot be read.
func (t *Trainer) stopped(cause error) error {
	if t.group.Lost() { // saving would wait for the GPU, and the GPU for the lost process
		return cause
	}
	err := t.withStepTimeout(func() error { t.healthy(); return nil })
	if err == nil {
		err = t.group.OnLeader(t.saveLast)
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
	if !t.group.IsLeader() {
		return fmt.Errorf("%w\nthe run is saved", cause)
	}
	return fmt.Errorf("%w\nthe run is saved as %s: resume it by iddpm resume %s", cause, t.saver.safe, t.run.Dir)
}

func (t *Trainer) done() bool {
	total := t.config.Train.TotalSteps()
	return total > 0 && t.current >= total
}

// deviceKind names a device by what the results depend on: the model of GPU, not its index.
func deviceKind(d gotorch.Device) string {
	if d.Type != gotorch.CUDA {
		return d.String()
	}
	p := gotorch.GetCUDAProperties(d)
	return fmt.Sprintf("%s (compute capability %d.%d)", p.Name, p.Major, p.Minor)
}

// environment returns what the results depend on, bit for bit, in addition to the
// configuration.
func (t *Trainer) environment() map[string]string {
	e := map[string]string{
		"libtorch":       gotorch.Version,
		"cpu_capability": gotorch.CPUCapability(),
		"go":             runtime.Version(),
		"device":         deviceKind(t.device),
		"processes":      strconv.Itoa(t.group.Size()),
	}
	if decoder := t.dataset.JPEGDecoder(); decoder != "" {
		e["jpeg_decoder"] = decoder
	}
	if len(t.adapted) > 0 {
		e[adaptedThreads] = t.adapted.String()
	}
	return e
}
