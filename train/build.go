package train

import (
	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/distributed"
	"iddpm/train/engine"
)

// build makes the engine, and restores the state of a checkpoint if there is one. It must run
// on the tensor thread.
func (t *Trainer) build(from *checkpoint.Checkpoint, attempt int) error {
	device, group := t.run.Device, t.run.Group
	if err := resolve(&t.config, device, group, t.origin.resumed(), t.run.Log); err != nil {
		return err
	}
	chooseThreads(&t.config.Train, device, group, t.run.AdaptThreads)
	o := engineOptions(t.config, device, group)
	o.Attempt = attempt
	o.OnCaptureFailed = func(err error) {
		t.run.Log.Warn("CUDA graph capture failed: falling back to eager execution, which is slower", zap.Error(err))
	}
	o.OnMicrobatchLowered = t.microbatchLowered
	var err error
	if t.engine, err = engine.New(o); err != nil {
		return err
	}
	t.syncEveryStep = t.engine.SyncsEveryStep()
	switch {
	case !group.IsLeader(): // broadcastState sends what rank 0 has read
		return nil
	case from == nil:
		return t.initialise()
	}
	t.position = from.Position
	if err := from.Restore(t.engine); err != nil {
		return err
	}
	t.warnOfDifferences(from)
	return nil
}

// broadcastState sends rank 0's state to all ranks. Only rank 0 reads checkpoints.
func (t *Trainer) broadcastState() (err error) {
	if t.run.Group == nil {
		return nil
	}
	if t.position, err = distributed.Broadcast(t.run.Group, t.position); err != nil {
		return err
	}
	return t.engine.Broadcast()
}

// microbatchLowered stores the smaller microbatch of a run that was out of memory.
func (t *Trainer) microbatchLowered(before, now int) {
	t.config.Train.Microbatch = now
	t.run.Log.Warn("out of memory: continuing with smaller microbatches, which give the same gradient",
		zap.Int("microbatch", now), zap.Int("before", before))
	if err := writeConfig(t.run.Dir, t.config); err != nil { // the next checkpoint also stores it
		t.run.Log.Warn("cannot write the smaller microbatch to the run folder's configuration", zap.Error(err))
	}
}

// initialise loads the weights of the checkpoint that InitFrom names, if any.
func (t *Trainer) initialise() error {
	path := t.config.Train.InitFrom
	if path == "" {
		return nil
	}
	load := t.run.Load
	if load == nil {
		load = checkpoint.Load
	}
	c, err := load(path)
	if err != nil {
		return &InitError{path, err}
	}
	if err := c.CheckComputation(t.config); err != nil {
		return &InitError{path, err}
	}
	from, err := c.Weights("")
	if err != nil {
		return err
	}
	if from.Reason != "" {
		t.run.Log.Info("initialising from the weights "+from.Name, zap.String("checkpoint", c.Path), zap.String("reason", from.Reason))
	}
	weights := from.Dict
	if t.config.Train.ReinitMismatched {
		weights = t.fitted(weights)
	}
	if err := t.engine.LoadWeights(weights); err != nil {
		return &InitError{path, err}
	}
	return nil
}

// fitted returns a state_dict that fits the network. Parameters whose shapes do not match
// keep their initial values, and the log names them.
func (t *Trainer) fitted(weights *pt.Dict) *pt.Dict {
	all := t.engine.Network().StateDict()
	bad := map[string]bool{}
	for _, x := range t.engine.Network().Mismatches(weights) {
		bad[x.Name] = true
		t.run.Log.Warn("re-initialised", zap.Error(x))
	}
	for _, p := range t.engine.Network().Parameters() {
		if value, ok := weights.Get(p.Name); ok && !bad[p.Name] {
			all.Set(p.Name, value)
		}
	}
	return all
}
