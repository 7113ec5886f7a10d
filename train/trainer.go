package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/train/metrics"
)

// Run is what surrounds a run and is not part of its configuration.
type Run struct {
	Dir      string         // the run folder
	Device   gotorch.Device // where tensors are
	Log      *zap.Logger    // nil: silent
	Progress func(Progress) // called after every step; nil: nobody listens
}

// Progress is where a run stands after a step. The metrics are those of the
// last line of the log.
type Progress struct {
	Step, Total     int // Total is 0 for a run without an end
	Loss            float64
	GradNorm        float64
	LR              float64
	ImagesPerSecond float64
	DataWait        float64 // share of the time spent waiting for pictures
}

// Summary is what a run came to.
type Summary struct {
	Step       int     `json:"step"`
	FirstLoss  float64 `json:"first_loss"` // mean over the first line of the log
	LastLoss   float64 `json:"last_loss"`  // mean over the last line of the log
	Seconds    float64 `json:"seconds"`    // of training in this process
	Checkpoint string  `json:"checkpoint"` // the newest
	RunDir     string  `json:"run_dir"`
}

// Trainer holds the state of a run: all of it that changes is in a checkpoint.
type Trainer struct {
	config    Config
	run       Run
	log       *zap.Logger
	device    gotorch.Device
	precision precision

	network   *model.UNet
	diffusion *diffusion.GaussianDiffusion
	sampler   diffusion.TimestepSampler
	optimizer gotorch.Optimizer
	ema       [][]gotorch.Tensor // per rate, per parameter
	dataset   *data.Dataset
	heldOut   heldOut // empty where the run does not evaluate
	loader    *data.Loader
	metrics   *metrics.Writer
	fresh     bool        // not in its folder before
	adopted   bool        // begun by the reference
	locked    *folderLock // the run folder; nil: it is not ours yet
	saver     saver
	meter     meter

	health     health
	eager      bool // the host looks at every step's health, not only when it reads a line of metrics
	rolledBack bool // in this process
	due        bool // a checkpoint is, as soon as a step is good

	current  int   // optimizer steps taken
	position int64 // pictures taken from the data's endless sequence
}

// New begins a run: it checks the configuration, opens the data, builds the
// network and makes the run folder, which must not hold a run yet and is locked
// against other processes.
func New(c Config, r Run) (*Trainer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := refuseRun(r.Dir); err != nil {
		return nil, err
	}
	t := newTrainer(r)
	t.config, t.fresh = c, true
	if err := t.assemble(nil); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func refuseRun(dir string) error {
	if Exists(dir) {
		return fmt.Errorf("%s holds a run already: go on with it by `iddpm resume %s`, or name another --run-dir", dir, dir)
	}
	return nil
}

// Resume goes on with the run that a checkpoint, or the newest readable
// checkpoint of a run folder, belongs to. A run that was killed before its first
// checkpoint begins again, to the same numbers. steps above 0 replaces the step
// at which training ends; nothing else of the configuration changes.
func Resume(path string, steps int, r Run) (*Trainer, error) {
	t := newTrainer(r)
	if t.run.Dir == "" {
		t.run.Dir = runDirOf(path)
	}
	if err := t.resume(path, steps); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Trainer) resume(path string, steps int) error {
	if _, err := os.Stat(path); err == nil && Exists(t.run.Dir) {
		// Before the newest checkpoint is chosen: another process may be writing a
		// newer one.
		if err := t.lock(); err != nil {
			return err
		}
	}
	from, err := t.find(path)
	if err != nil {
		return err
	}
	if steps > 0 {
		t.config.Train.Steps = steps
	}
	return t.assemble(from)
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
	t.config, t.saver.safe = c.Config, c.Path
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
	return &Trainer{run: r, log: r.Log, device: r.Device, health: health{lgLossScale: initialLgLossScale}}
}

// assemble builds the trainer; with a checkpoint it restores that state.
func (t *Trainer) assemble(from *Checkpoint) error {
	for _, step := range []func() error{
		t.openData,
		func() error { return t.onTensorThread(func() error { return t.build(from) }) },
		t.openRunFolder,
		t.openLoader,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// onTensorThread runs f where tensors are worked on, and turns what libtorch
// refuses into an error.
func (t *Trainer) onTensorThread(f func() error) (err error) {
	if e := gotorch.LoadLibrary(); e != nil {
		return e
	}
	gotorch.Run(func() {
		if e := gotorch.Try(func() { err = f() }); e != nil {
			err = e
		}
	})
	return err
}

func (t *Trainer) openData() (err error) {
	o := t.config.DataOptions()
	o.HoldOut = t.config.Eval.HoldOut
	t.dataset, err = data.Open(t.config.Data.Dir, o)
	if err != nil {
		return err
	}
	if found, want := t.dataset.NumClasses(), t.config.Model.NumClasses; t.config.Model.ClassCond && found > want {
		return fmt.Errorf("%s has %d classes, but the network only %d: raise --num-classes", t.dataset.Name(), found, want)
	}
	return t.openHeldOut()
}

// build makes all tensors of the run, on the tensor thread.
func (t *Trainer) build(from *Checkpoint) error {
	t.config.Train.Precision = ResolvePrecision(t.config.Train.Precision, t.device)
	t.precision = precisions[t.config.Train.Precision]
	t.precision.apply(t.device)
	gotorch.SetDeterministic(t.config.Train.Deterministic)
	if t.config.Train.Threads > 0 {
		gotorch.SetNumThreads(int32(t.config.Train.Threads))
	}
	t.config.Train.Threads = int(gotorch.GetNumThreads())
	var err error
	if t.diffusion, err = diffusion.New(t.config.Diffusion, t.device); err != nil {
		return err
	}
	t.sampler = scheduleSamplers[t.config.Train.ScheduleSampler](t.diffusion.NumTimesteps())
	t.eager = t.asksAtOnce()
	if err := t.buildNetwork(); err != nil {
		return err
	}
	if from != nil {
		return t.restore(from)
	}
	return t.initialise()
}

// buildNetwork draws the weights and makes the optimizer and the averages.
func (t *Trainer) buildNetwork() error {
	u, err := t.config.Model.UNet()
	if err != nil {
		return err
	}
	if t.network, err = model.New(u, t.seed()); err != nil {
		return err
	}
	t.network.To(t.device)
	t.network.SetRequiresGrad(true)
	o := t.config.Train
	t.optimizer = gotorch.AdamW(gotorch.AdamWOptions{LR: o.LR, WeightDecay: o.WeightDecay})
	t.optimizer.AddParameters(t.network.Tensors())
	for range o.EMARates {
		average := make([]gotorch.Tensor, 0, len(t.network.Parameters()))
		for _, p := range t.network.Tensors() {
			average = append(average, p.Detach().Clone())
		}
		t.ema = append(t.ema, average)
	}
	return nil
}

// initialise takes the weights of another checkpoint, if one is named.
func (t *Trainer) initialise() error {
	path := t.config.Train.InitFrom
	if path == "" {
		return nil
	}
	c, err := LoadCheckpoint(path)
	if err != nil {
		return err
	}
	weights, err := c.Weights("")
	if err != nil {
		return err
	}
	if t.config.Train.ReinitMismatched {
		weights = t.fitted(weights)
	}
	if err := t.network.LoadStateDict(weights); err != nil {
		return fmt.Errorf("--init-from %s: %w\n(--reinit-mismatched begins those layers afresh)", path, err)
	}
	for _, average := range t.ema {
		gotorch.ForeachCopyI(average, t.network.Tensors())
	}
	return nil
}

// fitted returns a state_dict that fits the network: where the given one does
// not, it holds the weights that were drawn, and the log says so.
func (t *Trainer) fitted(weights *pt.Dict) *pt.Dict {
	all := t.network.StateDict()
	bad := map[string]bool{}
	for _, x := range t.network.Mismatches(weights) {
		bad[x.Name] = true
		t.log.Warn("begins afresh", zap.Error(x))
	}
	for _, p := range t.network.Parameters() {
		if value, ok := weights.Get(p.Name); ok && !bad[p.Name] {
			all.Set(p.Name, value)
		}
	}
	return all
}

// warnOfDifferences says what makes a resumed run differ, in the last bits or
// at all, from one that was never stopped.
func (t *Trainer) warnOfDifferences(c *Checkpoint) {
	now := t.environment()
	for _, key := range []string{"libtorch", "cpu_capability", "device"} {
		if was, known := c.Environment[key]; known && was != now[key] {
			t.log.Warn("the results may differ in their last bits from an uninterrupted run's",
				zap.String("because", key), zap.String("was", was), zap.String("is", now[key]))
		}
	}
	if c.DataFingerprint != "" && c.DataFingerprint != t.dataset.Fingerprint() {
		t.log.Warn("the pictures are not those that the run began with", zap.String("data", t.dataset.Name()))
	}
}

// Config returns the run's configuration, with "auto" resolved.
func (t *Trainer) Config() Config { return t.config }

// Step returns how many optimizer steps the run has taken.
func (t *Trainer) Step() int { return t.current }

// Dir returns the run folder.
func (t *Trainer) Dir() string { return t.run.Dir }

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
	if t.network != nil {
		gotorch.Run(t.free)
	}
	return errors.Join(err, t.locked.release())
}

func (t *Trainer) free() {
	t.network.Free()
	t.optimizer.Close()
	for _, average := range t.ema {
		for _, x := range average {
			x.Free()
		}
	}
}

func (t *Trainer) openLoader() (err error) {
	t.loader, err = data.NewLoader(t.dataset, data.LoaderOptions{
		BatchSize:  t.config.Train.BatchSize,
		Seed:       t.seed(),
		Position:   t.position,
		Flip:       t.config.Data.Flip,
		RandomCrop: t.config.Data.RandomCrop,
	})
	return err
}

// announce logs the line that says what is being trained.
func (t *Trainer) announce() {
	device := t.device.String()
	if t.device.Type == gotorch.CPU {
		device = fmt.Sprintf("cpu (%d threads, %s)", t.config.Train.Threads, gotorch.CPUCapability())
	}
	t.log.Info("training",
		zap.String("data", t.dataset.Name()), zap.Int("pictures", t.dataset.Len()),
		zap.Stringer("model", t.network), zap.Int("image_size", t.config.Model.ImageSize),
		zap.String("device", device), zap.String("precision", t.config.Train.Precision),
		zap.Int("step", t.current), zap.Int("steps", t.config.Train.TotalSteps()),
		zap.String("run", t.run.Dir))
}

// ErrInterrupted says that training stopped because its context was cancelled,
// and that the run is saved.
var ErrInterrupted = errors.New("interrupted; the run is saved")

// Train trains until the run's last step, or until ctx is cancelled: then it
// saves and returns ErrInterrupted.
func (t *Trainer) Train(ctx context.Context) error {
	t.announce()
	return t.onTensorThread(func() error { return t.loop(ctx) })
}

func (t *Trainer) loop(ctx context.Context) error {
	t.meter.start()
	for !t.done() {
		if err := t.next(ctx); err != nil {
			return err
		}
		if t.evaluationDue() {
			err := t.evaluateHeldOut(ctx)
			if ctx.Err() != nil {
				return t.interrupted()
			}
			if err != nil {
				return err
			}
		}
		t.due = t.due || t.current%t.config.Train.SaveInterval == 0
		if t.done() || t.due && t.healthy() {
			if err := t.save(); err != nil {
				return err
			}
			t.due = false
		}
	}
	return t.saver.wait()
}

// next takes one step, or saves and stops if ctx is cancelled.
func (t *Trainer) next(ctx context.Context) error {
	batch, err := t.waitForBatch(ctx)
	if ctx.Err() != nil {
		return t.interrupted()
	}
	if err != nil {
		return err
	}
	result, err := t.step(batch)
	if err != nil {
		return err
	}
	if err = t.observe(result); errors.Is(err, errDiverged) {
		return t.recover(batch)
	}
	t.loader.Recycle(batch)
	return err
}

func (t *Trainer) waitForBatch(ctx context.Context) (data.Batch, error) {
	defer t.meter.waiting()()
	return t.loader.Next(ctx)
}

// interrupted saves; where the last step was bad, an older checkpoint is worth
// more than a newer one that may hold what broke it.
func (t *Trainer) interrupted() error {
	if t.healthy() || t.saver.safe == "" {
		if err := t.save(); err != nil {
			return err
		}
	}
	if err := t.saver.wait(); err != nil {
		return err
	}
	return ErrInterrupted
}

func (t *Trainer) done() bool {
	total := t.config.Train.TotalSteps()
	return total > 0 && t.current >= total
}

// openRunFolder makes the run folder, its configuration and its metrics.
func (t *Trainer) openRunFolder() (err error) {
	for _, sub := range []string{checkpointDir, "samples"} {
		if err := os.MkdirAll(filepath.Join(t.run.Dir, sub), 0o777); err != nil {
			return fmt.Errorf("cannot make the run folder: %w", err)
		}
	}
	if err := t.lock(); err != nil {
		return err
	}
	if t.fresh { // another process may have begun a run here since New looked
		if err := refuseRun(t.run.Dir); err != nil {
			return err
		}
	}
	removeLeftovers(t.run.Dir)
	t.saver.log, t.saver.keep, t.saver.keepEvery = t.log, t.config.Train.Keep, t.config.Train.KeepEvery
	if t.adopted { // a folder with a configuration alone would begin at step 0
		if err := t.saveNow(); err != nil {
			return err
		}
	}
	if err := writeConfig(t.run.Dir, t.config); err != nil {
		return err
	}
	t.metrics, err = metrics.Open(t.run.Dir, t.current)
	return err
}

// environment is what results depend on beside the configuration, bit for bit.
func (t *Trainer) environment() map[string]string {
	return map[string]string{
		"libtorch":       gotorch.Version,
		"cpu_capability": gotorch.CPUCapability(),
		"go":             runtime.Version(),
		"device":         t.device.String(),
	}
}
