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

// Run is what surrounds a run and is not part of its configuration.
type Run struct {
	Dir      string             // the run folder
	Device   gotorch.Device     // where tensors are
	Group    *distributed.Group // the processes that train the run together; nil: this one alone
	Log      *zap.Logger        // nil: silent; of several processes one is enough to log
	Progress func(Progress)     // called after every step; nil: nobody listens
	// StepTimeout is how long processes wait for one another within a step, and for its batch;
	// 0: an hour. Whoever does not come in that time is lost.
	StepTimeout time.Duration
	// Load reads a checkpoint that the configuration names, such as InitFrom; nil:
	// LoadCheckpoint does.
	Load func(checkpoint string) (*Checkpoint, error)
}

// Progress is where a run stands after a step. The metrics are those of the
// last line of the log.
type Progress struct {
	Step, Total     int // Total is 0 for a run without an end
	Loss            float64
	ImagesPerSecond float64
}

// Summary is what a run came to.
type Summary struct {
	Step       int     `json:"step"`
	FirstLoss  float64 `json:"first_loss"` // mean over the first line of the log
	LastLoss   float64 `json:"last_loss"`  // mean over the last line of the log
	Seconds    float64 `json:"seconds"`    // of training in this process
	Checkpoint string  `json:"checkpoint"` // the newest
	RunDir     string  `json:"run_dir"`
	Weights    Weights `json:"-"` // those used by default, without the tensors
}

// Trainer holds the state of a run: all of it that changes is in a checkpoint.
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
	heldOut               heldOut // empty where the run does not evaluate
	loader                *data.Loader
	metrics               *metrics.Writer // nil where another process leads
	isNew                 bool            // not in its folder before
	importedFromReference bool            // resumed by the reference
	resumed               bool            // resumed here, by an earlier process
	known                 []string        // classes that the run has learnt before, by label; nil: none
	locked                *folderLock     // the run folder; nil: it is not ours yet
	saver                 saver
	meter                 meter

	threads       *threads.Adapter
	adapted       threadHistory
	health        health
	syncEveryStep bool // the host looks at every step's health, not only when it reads a line of metrics
	rolledBack    bool // in this process
	due           bool // a checkpoint is, as soon as a step is good

	phase    phase
	current  int   // optimizer steps taken
	position int64 // images taken from the data's endless sequence
}

// onTensorThread runs f where tensors are worked on, and turns what libtorch
// refuses into an error.
func (t *Trainer) onTensorThread(f func() error) error {
	if err := gotorch.LoadLibrary(); err != nil {
		return err
	}
	return t.group.OnTensorThread(f)
}

// Config returns the run's configuration, with "auto" resolved.
func (t *Trainer) Config() Config { return t.config }

// Step returns how many optimizer steps the run has taken.
func (t *Trainer) Step() int { return t.current }

// Close stops the loader, waits for a checkpoint being written, frees the
// tensors and unlocks the run folder.
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
	case t.network == nil || t.group.Lost(): // freeing waits for a GPU, and that for who is gone
	case t.phase.Load() == abandoned:
		go gotorch.Run(t.free) // once the step has ended
	default:
		err = errors.Join(err, gotorch.Try(func() { gotorch.Run(t.free) }))
	}
	return errors.Join(err, t.locked.release())
}

func (t *Trainer) free() {
	if t.work != nil { // it is made last
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

// announce logs the line that says what is being trained.
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

// ErrInterrupted says that training stopped because its context was cancelled,
// and that the run is saved.
var ErrInterrupted = errors.New("interrupted; the run is saved")

// Train trains until the run's last step, or until ctx is cancelled: then it
// saves and returns ErrInterrupted. A step on a CPU that then takes more than some seconds
// is abandoned, and the state before it saved; the tensor thread is busy with it until it
// ends, or the program does.
func (t *Trainer) Train(ctx context.Context) error {
	t.announce()
	if t.abandonable() {
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
		t.due = t.due || t.saveDue()
		if t.done() || t.due && t.healthy() {
			if err := t.save(t.done()); err != nil {
				return err
			}
			t.due = false
		}
	}
	return t.group.OnLeader(t.saver.wait)
}

// next takes one step, or saves and stops if ctx is cancelled in any process.
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

// withStepTimeout bounds how long processes wait for one another while f runs: for an image
// from a slow disk, or a step on a CPU, but not for a process that hangs. What may take longer,
// such as an evaluation or the writing of a checkpoint, is not for f.
func (t *Trainer) withStepTimeout(f func() error) error {
	return t.group.Within(cmp.Or(t.run.StepTimeout, time.Hour), f)
}

// readsStep reports whether the results of the step just taken are to be read at once, for the
// log, an evaluation or a checkpoint: what waits for a GPU, which may wait for another process,
// is to wait with a timeout.
func (t *Trainer) readsStep() bool {
	return t.syncEveryStep || t.lineDue() || t.evaluationDue() || t.due || t.saveDue()
}

func (t *Trainer) saveDue() bool { return t.current%t.config.Train.SaveInterval == 0 }

// syncStop returns nil if all processes go on, and ErrInterrupted in all of them if ctx
// is cancelled in one.
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

// stopped saves before training ends by an interrupt, or by an error that the
// weights have no part in, such as an image that cannot be read.
func (t *Trainer) stopped(cause error) error {
	if t.group.Lost() { // saving waits for a GPU, and that for who is gone
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
	if !t.group.IsLeader() {
		return fmt.Errorf("%w\nthe run is saved", cause)
	}
	return fmt.Errorf("%w\nthe run is saved, as %s: iddpm resume %s goes on", cause, t.saver.safe, t.run.Dir)
}

func (t *Trainer) done() bool {
	total := t.config.Train.TotalSteps()
	return total > 0 && t.current >= total
}

// deviceKind names a device by what its results depend on: which of a machine's GPUs it
// is does not matter, but what kind of GPU.
func deviceKind(d gotorch.Device) string {
	if d.Type != gotorch.CUDA {
		return d.String()
	}
	p := gotorch.GetCUDAProperties(d)
	return fmt.Sprintf("%s (compute capability %d.%d)", p.Name, p.Major, p.Minor)
}

// environment is what results depend on beside the configuration, bit for bit.
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
