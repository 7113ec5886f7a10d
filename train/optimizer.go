package train

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
)

// packOptimizer copies the optimizer's state to host memory, as the state_dict
// of torch.optim.AdamW over the same parameters.
func (t *Trainer) packOptimizer() *pt.Dict {
	expAvg, expAvgSq, updates := t.optimizer.State()
	state := new(pt.Dict)
	indices := make([]any, len(expAvg))
	for i := range expAvg {
		step := gotorch.FullOn(gotorch.Device{}, gotorch.Float, float64(updates))
		state.Set(i, dictOf("step", step.PT(), "exp_avg", expAvg[i].PT(), "exp_avg_sq", expAvgSq[i].PT()))
		indices[i] = int64(i)
	}
	o := t.config.Train
	group := dictOf(
		"lr", o.LearningRate(max(0, t.current-1)), "betas", pt.Tuple{adamBeta1, adamBeta2}, "eps", adamEps,
		"weight_decay", o.WeightDecay, "amsgrad", false, "maximize", false, "foreach", nil, "capturable", false,
		"differentiable", false, "fused", nil, "decoupled_weight_decay", true, "params", indices,
	)
	return dictOf("state", state, "param_groups", []any{group})
}

// AdamW's hyperparameters that are not options: PyTorch's defaults, as in the reference.
const (
	adamBeta1 = 0.9
	adamBeta2 = 0.999
	adamEps   = 1e-8
)

// unpackOptimizer reads a state_dict of torch.optim.AdamW.
func (t *Trainer) unpackOptimizer(dict *pt.Dict) error {
	root := fields{dict: dict}
	state := root.sub("state")
	params := t.network.Parameters()
	if root.err != nil {
		return root.err
	}
	if state.dict.Len() == 0 {
		return nil // the checkpoint is of step 0
	}
	if state.dict.Len() == 1 && len(params) > 1 {
		whole, err := t.unflatten(state.dict)
		if err != nil {
			return err
		}
		state.dict = whole
	}
	if state.dict.Len() != len(params) {
		return fmt.Errorf("the state is of %d parameters, the network has %d", state.dict.Len(), len(params))
	}
	expAvg, expAvgSq := make([]gotorch.Tensor, len(params)), make([]gotorch.Tensor, len(params))
	var updates int64
	var err error
	gotorch.Scope(func() {
		for i, p := range params {
			entry := state.sub(i)
			m, v, step := entry.tensor("exp_avg"), entry.tensor("exp_avg_sq"), entry.scalar("step")
			if err = state.failed(entry); err != nil {
				err = fmt.Errorf("%s: %w", p.Name, err)
				return
			}
			expAvg[i], expAvgSq[i], updates = gotorch.FromPT(m), gotorch.FromPT(v), int64(step)
		}
		t.optimizer.SetState(expAvg, expAvgSq, updates)
	})
	return err
}

// scalar reads a number that PyTorch stores as a tensor of one element; old versions stored
// an int.
func (f *fields) scalar(key any) float64 {
	if v, _ := f.dict.Get(key); v != nil {
		switch v := v.(type) {
		case int64:
			return float64(v)
		case float64:
			return v
		}
	}
	tensor := f.tensor(key)
	if f.err != nil {
		return 0
	}
	return gotorch.FromPT(tensor).Float64()
}
