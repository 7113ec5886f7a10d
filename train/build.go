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

// LogData logs which images a set leaves out, and the rule that assigns its classes.
func LogData(log *zap.Logger, set *data.Dataset) {
	for _, left := range set.LeftOut() {
		log.Warn("left out files that are not images of the data set", zap.Int("images", left.Images), zap.String("reason", left.Reason), zap.String("first", left.First))
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

// ClassHint is a hint on how to choose the rule that assigns classes.
const ClassHint = "--labels chooses where classes come from: prefix, folder, source, or a table of lines NAME,CLASS"

// asMoved adds a hint to the error of images that a resumed run no longer finds.
func (t *Trainer) asMoved(err error, flag string) error {
	if t.resumed && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w\nthe run was started with them: if they have moved, name their new location by --%s", err, flag)
	}
	return err
}

// build makes all tensors of the run. It must run on the tensor thread.
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
		return nil // broadcastState sends what rank 0 has read
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

// buildNetwork initialises the weights and makes the optimizer and the EMA weights.
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
	t.optimizer.State() // allocates the moments now: within the first step they would fragment the allocator's memory
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

// initialise loads the weights of the checkpoint that InitFrom names, if any.
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
		return fmt.Errorf("--init-from %s: %w\n(--reinit-mismatched re-initialises those layers)", path, err)
	}
	for _, average := range t.ema {
		gotorch.ForeachCopyI(average, t.network.Tensors())
	}
	return nil
}

// fitted returns a state_dict that fits the network. Parameters whose shapes do not match
// keep their initial values, and the log names them.
func (t *Trainer) fitted(weights *pt.Dict) *pt.Dict {
	all := t.network.StateDict()
	bad := map[string]bool{}
	for _, x := range t.network.Mismatches(weights) {
		bad[x.Name] = true
		t.log.Warn("re-initialised", zap.Error(x))
	}
	for _, p := range t.network.Parameters() {
		if value, ok := weights.Get(p.Name); ok && !bad[p.Name] {
			all.Set(p.Name, value)
		}
	}
	return all
}
