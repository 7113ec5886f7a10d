package train

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/model"
)

func (t *Trainer) openData() (err error) {
	o := t.config.DataOptions()
	o.HoldOut = t.config.Eval.HoldOut
	o.Sharers = t.group.LocalSize()
	o.KnownClasses = t.known
	t.dataset, err = data.Open(t.config.Data.Dir, o)
	if err != nil {
		return t.asMoved(err, "data-dir")
	}
	if found, want := t.dataset.NumClasses(), t.config.Model.NumClasses; t.config.Model.ClassCond && found > want {
		return fmt.Errorf("%s has %d classes, but the network only %d: raise --num-classes", t.dataset.Name(), found, want)
	}
	LogData(t.log, t.dataset)
	return t.openHeldOut()
}

// LogData logs what a set leaves out, and where its classes come from.
func LogData(log *zap.Logger, set *data.Dataset) {
	for _, left := range set.LeftOut() {
		log.Warn("left out images that are no data", zap.Int("images", left.Images), zap.String("reason", left.Reason), zap.String("first", left.First))
	}
	names := set.ClassNames()
	if names == nil {
		return
	}
	const shown = 5
	log.Info("classes", zap.Int("count", len(names)), zap.Strings("first", names[:min(len(names), shown)]), zap.String("rule", set.ClassRule()))
	for _, warning := range set.ClassWarnings() {
		log.Warn("check the classes", zap.String("reason", warning), zap.String("hint", ClassHint))
	}
}

// ClassHint says how to choose where classes come from.
const ClassHint = "--labels chooses where classes come from: prefix, folder, source, or a table of lines NAME,CLASS"

// asMoved adds to the error of images that a run began with, and that are not
// there any more, how it can go on.
func (t *Trainer) asMoved(err error, flag string) error {
	if t.resumed && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w\nthe run has used them before: say by --%s where they are now", err, flag)
	}
	return err
}

// build makes all tensors of the run, on the tensor thread.
func (t *Trainer) build(from *Checkpoint) error {
	if err := t.choosePrecision(); err != nil {
		return err
	}
	if err := t.chooseMicrobatch(); err != nil {
		return err
	}
	t.precision = precisions[t.config.Train.Precision]
	t.precision.apply(t.device)
	gotorch.SetDeterministic(t.config.Train.Deterministic)
	gotorch.SetBenchmarkCUDNN(!t.config.Train.Deterministic)
	t.setThreads()
	var err error
	if t.diffusion, err = diffusion.New(t.config.Diffusion, t.device); err != nil {
		return err
	}
	t.sampler = scheduleSamplers[t.config.Train.ScheduleSampler](t.diffusion.NumTimesteps())
	t.syncEveryStep = t.syncsEveryStep()
	if err := t.buildNetwork(); err != nil {
		return err
	}
	t.work = t.newStepWork()
	if !t.group.IsLeader() {
		return nil // broadcastState brings what the leading process has read
	}
	if from != nil {
		err = t.restore(from)
	} else {
		err = t.initialise()
	}
	if err == nil && t.group == nil {
		t.work.makeWorkingWeights()
	}
	return err
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
	t.optimizer.State() // makes the moments: amid the first step they would lie between what is freed after it
	for _, rate := range o.EMARates {
		average := make([]gotorch.Tensor, 0, len(t.network.Parameters()))
		for _, p := range t.network.Tensors() {
			average = append(average, p.Detach().Clone())
		}
		t.ema = append(t.ema, average)
		t.optimizer.AddAverage(gotorch.Average{Rate: rate, Tensors: average})
	}
	return nil
}

// initialise takes the weights of another checkpoint, if one is named.
func (t *Trainer) initialise() error {
	path := t.config.Train.InitFrom
	if path == "" {
		return nil
	}
	load := t.run.Load
	if load == nil {
		load = LoadCheckpoint
	}
	c, err := load(path)
	if err != nil {
		return fmt.Errorf("--init-from: %w", err)
	}
	from, err := c.Weights("")
	if err != nil {
		return err
	}
	if from.Reason != "" {
		t.log.Info("initialising from the weights "+from.Name, zap.String("checkpoint", c.Path), zap.String("reason", from.Reason))
	}
	weights := from.Dict
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
