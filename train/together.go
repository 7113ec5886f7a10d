package train

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
)

// What of a run differs from process to process: the share of the batch, and who
// has the run folder. All else is equal in all of them, to the bit, so that they
// come to the same decisions without asking one another.

// share returns how many pictures of a batch are this process's.
func (t *Trainer) share() int { return t.config.Train.BatchSize / t.peers.Size() }

// first returns the index in the batch of the first picture that is this process's.
func (t *Trainer) first() int { return t.peers.Rank() * t.share() }

// lead has the leading process do what concerns the run folder, and all learn
// whether it went well.
func (t *Trainer) lead(f func() error) error {
	var err error
	if t.peers.Leads() {
		err = f()
	}
	return t.peers.Together(err)
}

// followConfig takes the leading process's configuration and the name of its run
// folder.
func (t *Trainer) followConfig() error {
	return t.onTensorThread(func() error {
		plan := struct {
			Config Config
			Dir    string
			Begun  bool
		}{t.config, t.run.Dir, t.begun}
		err := t.peers.follow(&plan)
		t.config, t.run.Dir, t.begun = plan.Config, plan.Dir, plan.Begun
		return err
	})
}

// sameData refuses pictures that are not the leading process's: on another machine,
// say.
func (t *Trainer) sameData() error {
	all, err := t.peers.Exchange(t.dataset.Fingerprint())
	if err == nil && all[t.peers.Rank()] != all[0] {
		err = fmt.Errorf("the pictures of %s are not those of process 0: all processes need the same", t.dataset.Name())
	}
	return err
}

// state is what a run has come to, beside tensors.
type state struct {
	Step, Position        int64
	Attempt, Skipped, Row int
	LgLossScale           float64
	Updates               int64
	Sampler               diffusion.SamplerState
}

// followState takes all that a run has come to from the leading process: it has
// read it from a checkpoint, which the others need not see.
func (t *Trainer) followState() error {
	if t.peers == nil {
		return nil
	}
	expAvg, expAvgSq, updates := t.optimizer.State()
	h := t.health
	s := state{int64(t.current), t.position, h.attempt, h.skipped, h.inARow, h.lgLossScale, updates, t.sampler.State()}
	if err := t.peers.follow(&s); err != nil {
		return fmt.Errorf("what the leading process says of the run: %w", err)
	}
	t.current, t.position = int(s.Step), s.Position
	t.health = health{attempt: s.Attempt, skipped: s.Skipped, inARow: s.Row, lgLossScale: s.LgLossScale}
	for _, list := range append([][]gotorch.Tensor{t.network.Tensors(), expAvg, expAvgSq}, t.ema...) {
		t.peers.followTensors(list)
	}
	t.optimizer.SetState(expAvg, expAvgSq, s.Updates)
	return t.sampler.SetState(s.Sampler)
}
