package train

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"

	"iddpm/distributed"
	"iddpm/model"
	"iddpm/train/metrics"
)

// health is what a run remembers of numbers that went bad. It is in checkpoints.
type health struct {
	attempt       int     // rollbacks so far; it enters the seed, so that the same NaN is not met again
	skipped       int     // steps whose loss or gradient was not finite, in all
	consecutive   int     // such steps since the last good one
	log2LossScale float64 // fp16: log2 of the factor on the loss
}

const (
	initialLog2LossScale = 20 // as in the reference
	minLog2LossScale     = 0  // below a factor of 1 no gradient is saved from overflow: the reference falls on
	defaultMaxSkipped    = 25
)

// seed returns the seed of the present attempt.
func (t *Trainer) seed() uint64 {
	const odd = 0x9e3779b97f4a7c15 // so that attempts do not meet the seeds next to the user's
	return t.config.Train.Seed + uint64(t.health.attempt)*odd
}

// lossScale returns the factor on the loss that keeps the gradients of
// half-precision activations from vanishing.
func (t *Trainer) lossScale() float64 {
	if t.precision.dtype != gotorch.Half {
		return 1
	}
	return math.Exp2(t.health.log2LossScale)
}

// syncsEveryStep reports whether the host is to look at every step's health: where
// that makes nobody wait, or where it waits anyway. Elsewhere the device decides
// by itself what to skip, and the host learns of it with the next line of the log.
func (t *Trainer) syncsEveryStep() bool {
	return t.device.Type == gotorch.CPU || t.precision.dtype == gotorch.Half || t.sampler.LossAware()
}

// errDiverged says that no step has been possible for too long.
var errDiverged = errors.New("the loss or the gradient is not finite")

// countStep counts a step as good or bad, and moves the loss's factor: up a little,
// or down by half where it has made numbers overflow.
func (t *Trainer) countStep(nonFinite bool) error {
	h := &t.health
	if !nonFinite {
		h.consecutive = 0
		h.log2LossScale += t.config.Train.FP16ScaleGrowth
		return nil
	}
	h.skipped++
	h.consecutive++
	h.log2LossScale = math.Max(minLog2LossScale, h.log2LossScale-1)
	if h.consecutive == 1 && t.precision.dtype != gotorch.Half { // with fp16 it is the ordinary search for the factor
		t.log.Warn("the loss or the gradient is not finite: the step is skipped", zap.Int("skipped_in_all", h.skipped))
	}
	if h.consecutive >= t.config.Train.maxSkipped() {
		return errDiverged
	}
	return nil
}

// healthy reports whether the last step was good. It waits for the device.
func (t *Trainer) healthy() bool {
	if n := len(t.meter.pending); n > 0 {
		return !t.meter.pending[n-1].values().nonFinite
	}
	return t.health.consecutive == 0
}

// healthValues are the columns of a line that speak of health.
func (t *Trainer) healthValues() (row []metrics.Value) {
	if t.health.skipped > 0 {
		row = append(row, metrics.Value{Name: "skipped_steps", Value: float64(t.health.skipped)})
	}
	if t.precision.dtype == gotorch.Half {
		row = append(row, metrics.Value{Name: "lg_loss_scale", Value: t.health.log2LossScale})
	}
	return row
}

// recover goes back to the last checkpoint, once; the second time it gives up
// and says where numbers went bad in the last batch.
func (t *Trainer) recover() error {
	where, err := t.diagnoseAll()
	if err != nil {
		return err
	}
	steps := t.health.consecutive
	if t.rolledBack {
		return t.group.SyncError(fmt.Errorf("%w in %d steps in a row up to step %d, even after going back once: %s\nbegin from an older checkpoint with a lower --lr, --grad-clip 1 or --precision fp32: iddpm train --init-from %s",
			errDiverged, steps, t.current, where, filepath.Join(t.run.Dir, checkpointDir, "CKPT")))
	}
	t.log.Error("the loss or the gradient is not finite: going back to the last checkpoint, with another seed",
		zap.Int("steps", steps), zap.Int("step", t.current), zap.String("where", where))
	t.rolledBack = true
	return t.rollBack()
}

// rollBack builds the run afresh as the last checkpoint has it, but for the
// attempt. Without a checkpoint it begins again.
func (t *Trainer) rollBack() error {
	_ = t.saver.wait() // its failure is in the log
	var from *Checkpoint
	err := t.group.OnLeader(func() (err error) {
		if t.saver.safe != "" {
			from, err = LoadCheckpoint(t.saver.safe)
		}
		return err
	})
	if err != nil {
		return err
	}
	next := t.health.attempt + 1
	t.loader.Close()
	t.free()
	t.network, t.ema, t.current, t.position, t.health = nil, nil, 0, 0, health{attempt: next, log2LossScale: initialLog2LossScale}
	if err := t.group.SyncError(t.build(from)); err != nil {
		return err
	}
	if err := t.broadcastState(); err != nil {
		return err
	}
	t.health.attempt, t.health.consecutive, t.due = next, 0, false
	t.meter.drop()
	return errors.Join(t.group.OnLeader(t.openMetrics), t.openLoader())
}

// diagnoseAll diagnoses in all processes, and returns what the first of them has
// found that has found something.
func (t *Trainer) diagnoseAll() (string, error) {
	all, err := distributed.AllGather(t.group, t.diagnose())
	for _, where := range all {
		if where != allFinite {
			return where, err
		}
	}
	return allFinite, err
}

// allFinite is what diagnose says where it finds nothing.
const allFinite = "all activations and each weight's gradient are finite now"

// diagnose evaluates the network once more on the batch of the last step, which
// still lies where the step has read it, and names the first place whose numbers
// are not finite.
func (t *Trainer) diagnose() (where string) {
	for _, p := range t.network.Parameters() {
		if !Finite(p.Tensor.Detach()) {
			return "the weights " + p.Name + " are not finite"
		}
	}
	gotorch.NoGrad(func() { gotorch.Scope(func() { where = t.firstNonFiniteBlock() }) })
	if where != "" {
		return "the first layer whose activations are not finite is " + where
	}
	for i, p := range slices.Backward(t.network.Parameters()) {
		if g := t.optimizer.Gradient(i); g.Defined() && !Finite(g) {
			return "all activations are finite, but the gradient of " + p.Name + " is not"
		}
	}
	return allFinite
}

// firstNonFiniteBlock returns the name of the first block, or "the loss", or "".
func (t *Trainer) firstNonFiniteBlock() (where string) {
	note := func(block string, h gotorch.Tensor) {
		if where == "" && !Finite(h) {
			where = block
		}
	}
	in := t.work.inputs()
	for _, m := range in.whole.split(t.config.Train.microbatch()) {
		dropout := t.key(in, m, 0)
		denoise := Denoiser(t.network, model.Input{Dtype: t.precision.dtype, Dropout: &dropout, Watch: note})
		note("the loss", t.losses(in, m, denoise).Loss)
		if where != "" {
			break
		}
	}
	return where
}

// Finite reports whether no element of x, of any shape, is infinite or NaN. It waits
// for the device.
func Finite(x gotorch.Tensor) (ok bool) {
	gotorch.NoGrad(func() {
		gotorch.Scope(func() { ok = x.CastTo(gotorch.Float).MulScalar(0).Sum().Float64() == 0 })
	})
	return ok
}

func (h health) pack() *pt.Dict {
	return dictOf("attempt", int64(h.attempt), "skipped", int64(h.skipped), "skipped_in_a_row", int64(h.consecutive), "lg_loss_scale", h.log2LossScale)
}

// readHealth reads what pack wrote; a checkpoint from before that has none.
func readHealth(root *fields) (health, error) {
	if _, ok := root.dict.Get("health"); !ok {
		return health{log2LossScale: initialLog2LossScale}, nil
	}
	f := root.sub("health")
	h := health{
		attempt: int(f.int("attempt")), skipped: int(f.int("skipped")), consecutive: int(f.int("skipped_in_a_row")),
		log2LossScale: f.float("lg_loss_scale"),
	}
	return h, root.failed(f)
}
