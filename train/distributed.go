package train

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/distributed"
)

// What of a run differs from process to process: the share of the batch, and who
// has the run folder. All else is equal in all of them, on like machines to the bit, so
// that they come to the same decisions without asking one another.

// share returns how many images of a batch are this process's.
func (t *Trainer) share() int { return t.config.Train.BatchSize / t.group.Size() }

// first returns the index in the batch of the first image that is this process's.
func (t *Trainer) first() int { return t.group.Rank() * t.share() }

// sharedConfig is what the leading process has decided on.
type sharedConfig struct {
	Config Config
	Dir    string
	Begun  bool
	Known  []string // see Trainer.known
}

// broadcastConfig takes the leading process's configuration and the name of its run
// folder.
func (t *Trainer) broadcastConfig() error {
	p, err := distributed.Broadcast(t.group, sharedConfig{t.config, t.run.Dir, t.resumed, t.known})
	if err == nil {
		t.config, t.run.Dir, t.resumed, t.known = p.Config, p.Dir, p.Begun, p.Known
	}
	return err
}

// sameData refuses images that are not the leading process's: on another machine,
// say.
func (t *Trainer) sameData() error {
	if t.group == nil {
		return nil // the fingerprint of a large set takes a moment
	}
	return t.group.CheckSame("set of images", t.dataset.Fingerprint())
}

// state is what a run has come to, beside tensors.
type state struct {
	Step, Position   int64
	Attempt, Skipped int
	SkippedInARow    int
	Log2LossScale    float64
	Updates          int64
	Sampler          diffusion.SamplerState
}

// broadcastState takes all that a run has come to from the leading process: it has
// read it from a checkpoint, which the others need not see.
func (t *Trainer) broadcastState() error {
	if t.group == nil {
		return nil
	}
	expAvg, expAvgSq, updates := t.optimizer.State()
	h := t.health
	s, err := distributed.Broadcast(t.group, state{int64(t.current), t.position, h.attempt, h.skipped, h.consecutive, h.log2LossScale, updates, t.sampler.State()})
	if err != nil {
		return err
	}
	t.current, t.position = int(s.Step), s.Position
	t.health = health{attempt: s.Attempt, skipped: s.Skipped, consecutive: s.SkippedInARow, log2LossScale: s.Log2LossScale}
	for _, list := range append([][]gotorch.Tensor{t.network.Tensors(), expAvg, expAvgSq}, t.ema...) {
		t.group.BroadcastTensors(list)
	}
	t.optimizer.SetState(expAvg, expAvgSq, s.Updates)
	t.work.makeWorkingWeights()
	return t.sampler.SetState(s.Sampler)
}
