package engine

import (
	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/diffusion"
	"iddpm/distributed"
)

// Counters are the state of an engine without its tensors.
type Counters struct {
	Step    int
	Updates int64 // of AdamW, which skipped steps leave out
	Health  Health
	Sampler diffusion.SamplerState
}

// State is the state of an engine, which a checkpoint holds. Tensors are those that steps
// change, not copies, in the order of the network's parameters.
type State struct {
	Counters
	Weights          []gotorch.Tensor
	ExpAvg, ExpAvgSq []gotorch.Tensor   // AdamW's moments
	EMA              [][]gotorch.Tensor // by Options.EMARates, and then by Options.PowerEMAs
}

// State returns the state after the last step. It waits for the device.
func (e *Engine) State() State {
	s := State{Counters: Counters{Step: e.step, Health: e.health, Sampler: e.sampler.State()}, Weights: e.network.Tensors(), EMA: e.ema}
	s.ExpAvg, s.ExpAvgSq, s.Updates = e.optimizer.State()
	return s
}

// SetState continues from the counters and AdamW's moments of s, which may be those of
// another engine. The weights and EMA weights must have been copied to the tensors of State.
func (e *Engine) SetState(s State) error {
	e.step, e.health = s.Step, s.Health
	e.optimizer.SetState(s.ExpAvg, s.ExpAvgSq, s.Updates)
	e.syncWorkingWeights()
	return e.sampler.SetState(s.Sampler)
}

// LoadWeights copies a state_dict to the weights, and restarts the EMAs from them.
func (e *Engine) LoadWeights(dict *pt.Dict) error {
	if err := e.network.LoadStateDict(dict); err != nil {
		return err
	}
	for _, average := range e.ema {
		gotorch.ForeachCopyI(average, e.network.Tensors())
	}
	e.syncWorkingWeights()
	return nil
}

// Broadcast sends the state of rank 0 to all processes.
func (e *Engine) Broadcast() error {
	group := e.options.Group
	if group == nil {
		return nil
	}
	s := e.State()
	var err error
	if s.Counters, err = distributed.Broadcast(group, s.Counters); err != nil {
		return err
	}
	for _, list := range append([][]gotorch.Tensor{s.Weights, s.ExpAvg, s.ExpAvgSq}, s.EMA...) {
		group.BroadcastTensors(list)
	}
	return e.SetState(s)
}

// WithEMA calls f while the network holds the EMA weights of that index, or its own if index
// is negative.
func (e *Engine) WithEMA(index int, f func()) {
	if index < 0 {
		f()
		return
	}
	e.network.WithWeights(e.ema[index], f)
}
