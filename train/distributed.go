package train

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/distributed"
)

// Data-parallel training: each rank works on its part of the batch, and rank 0 owns the run
// folder. All other state is equal on all ranks, on equal machines to the bit, so that all
// ranks make the same decisions without communication.

// localBatch returns the number of images of a batch on this rank.
func (t *Trainer) localBatch() int { return t.config.Train.BatchSize / t.group.Size() }

// first returns the index in the global batch of this rank's first image.
func (t *Trainer) first() int { return t.group.Rank() * t.localBatch() }

// sharedConfig is what rank 0 sends to the other ranks.
type sharedConfig struct {
	Config  Config
	Dir     string
	Resumed bool
	Known   []string // see Trainer.known
}

// broadcastConfig sends rank 0's configuration and run folder to all ranks.
func (t *Trainer) broadcastConfig() error {
	p, err := distributed.Broadcast(t.group, sharedConfig{t.config, t.run.Dir, t.resumed, t.known})
	if err == nil {
		t.config, t.run.Dir, t.resumed, t.known = p.Config, p.Dir, p.Resumed, p.Known
	}
	return err
}

// sameData returns an error if the ranks do not have the same images, for example on
// different machines.
func (t *Trainer) sameData() error {
	if t.group == nil {
		return nil // computing the fingerprint of a large set takes time
	}
	return t.group.CheckSame("set of images", t.dataset.Fingerprint())
}

// state is the state of a run without its tensors.
type state struct {
	Step, Position   int64
	Attempt, Skipped int
	SkippedInARow    int
	Log2LossScale    float64
	Updates          int64
	Sampler          diffusion.SamplerState
}

// broadcastState sends rank 0's state to all ranks. Only rank 0 reads checkpoints.
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
