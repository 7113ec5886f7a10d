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

// health counts non-finite steps and holds the loss scale. It is part of a checkpoint.
type health struct {
	attempt       int     // rollbacks so far; it changes the seed, so that the same NaN does not recur
	skipped       int     // total steps whose loss or gradient was not finite
	consecutive   int     // such steps since the last finite one
	log2LossScale float64 // fp16: log2 of the loss scale
}

const (
	initialLog2LossScale = 20 // as in the reference
	minLog2LossScale     = 0  // a loss scale below 1 prevents no overflow; the reference has no minimum
	defaultMaxSkipped    = 25
)

// seed returns the seed of the current attempt.
func (t *Trainer) seed() uint64 {
	const odd = 0x9e3779b97f4a7c15 // keeps the attempts' seeds away from the user's next seeds
	return t.config.Train.Seed + uint64(t.health.attempt)*odd
}

// lossScale returns the loss scale, which keeps float16 gradients from underflowing. It is
// 1 in other precisions.
func (t *Trainer) lossScale() float64 {
	if t.precision.dtype != gotorch.Half {
		return 1
	}
	return math.Exp2(t.health.log2LossScale)
}

// syncsEveryStep reports whether the host reads every step's result: if that costs no wait,
// or if it must wait anyway. Otherwise the device skips non-finite steps by itself, and the
// host reads the results at the next log interval.
func (t *Trainer) syncsEveryStep() bool {
	return t.device.Type == gotorch.CPU || t.precision.dtype == gotorch.Half || t.sampler.LossAware()
}

// errDiverged says that too many consecutive steps were skipped.
var errDiverged = errors.New("the loss or the gradient is not finite")

// countStep counts a step as finite or skipped, and adjusts the loss scale: it grows a
// little, or is halved after an overflow.
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
	if h.consecutive == 1 && t.precision.dtype != gotorch.Half { // with fp16, overflows are part of dynamic loss scaling
		t.log.Warn("the loss or the gradient is not finite: the step is skipped", zap.Int("skipped_in_all", h.skipped))
	}
	if h.consecutive >= t.config.Train.maxSkipped() {
		return errDiverged
	}
	return nil
}

// healthy reports whether the last step was finite. It waits for the device.
func (t *Trainer) healthy() bool {
	if n := len(t.meter.pending); n > 0 {
		return !t.meter.pending[n-1].values().nonFinite
	}
	return t.health.consecutive == 0
}

// healthValues returns a row's columns of skipped steps and loss scale.
func (t *Trainer) healthValues() (row []metrics.Value) {
	if t.health.skipped > 0 {
		row = append(row, metrics.Value{Name: "skipped_steps", Value: float64(t.health.skipped)})
	}
	if t.precision.dtype == gotorch.Half {
		row = append(row, metrics.Value{Name: "lg_loss_scale", Value: t.health.log2LossScale})
	}
	return row
}

// recover rolls back to the last checkpoint, once. The second time it returns an error that
// names the first non-finite layer in the last batch.
func (t *Trainer) recover() error {
	where, err := t.diagnoseAll()
	if err != nil {
		return err
	}
	steps := t.health.consecutive
	if t.rolledBack {
		return t.group.SyncError(fmt.Errorf("%w in %d consecutive steps up to step %d, even after rolling back once: %s\nstart from an older checkpoint with a lower --lr, --grad-clip 1 or --precision fp32: iddpm train --init-from %s",
			errDiverged, steps, t.current, where, filepath.Join(t.run.Dir, checkpointDir, "CKPT")))
	}
	t.log.Error("the loss or the gradient is not finite: rolling back to the last checkpoint, with another seed",
		zap.Int("steps", steps), zap.Int("step", t.current), zap.String("where", where))
	t.rolledBack = true
	return t.rollBack()
}

// rollBack rebuilds the run from its last checkpoint with the next attempt's seed. Without
// a checkpoint it starts from step 0.
func (t *Trainer) rollBack() error {
	_ = t.saver.wait() // an error is already in the log
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
	t.health.attempt, t.health.consecutive, t.saveOverdue = next, 0, false
	t.meter.drop()
	return errors.Join(t.group.OnLeader(t.openMetrics), t.openLoader())
}

// diagnoseAll runs diagnose on all ranks, and returns the finding of the lowest rank that
// has one.
func (t *Trainer) diagnoseAll() (string, error) {
	all, err := distributed.AllGather(t.group, t.diagnose())
	for _, where := range all {
		if where != allFinite {
			return where, err
		}
	}
	return allFinite, err
}

// allFinite is diagnose's result if it finds no non-finite number.
const allFinite = "all activations and each weight's gradient are finite now"

// diagnose evaluates the network again on the batch of the last step, which is still in the
// step's input tensors, and names the first weight, layer or gradient that is not finite.
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

// firstNonFiniteBlock returns the name of the first block whose activations are not finite,
// or "the loss", or "".
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

// readHealth reads what pack wrote. The first checkpoints did not have it.
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
