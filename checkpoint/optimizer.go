package checkpoint

import (
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/runconfig"
	"iddpm/train/engine"
)

// packOptimizer copies the optimizer's state to host memory, as the state_dict
// of torch.optim.AdamW over the same parameters.
func packOptimizer(o runconfig.Options, s engine.State) *pt.Dict {
	state := new(pt.Dict)
	indices := make([]any, len(s.ExpAvg))
	for i := range s.ExpAvg {
		step := gotorch.FullOn(gotorch.Device{}, gotorch.Float, float64(s.Updates))
		state.Set(i, dictOf("step", step.PT(), "exp_avg", s.ExpAvg[i].PT(), "exp_avg_sq", s.ExpAvgSq[i].PT()))
		indices[i] = int64(i)
	}
	group := dictOf(
		"lr", o.LearningRate(max(0, s.Step-1)), "betas", pt.Tuple{adamBeta1, adamBeta2}, "eps", adamEps,
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

// unpackOptimizer reads a state_dict of torch.optim.AdamW into s, in the caller's scope.
func unpackOptimizer(network engine.Network, dict *pt.Dict, s *engine.State) error {
	root := fields{dict: dict}
	state := root.sub("state")
	params := network.Parameters()
	if root.err != nil {
		return root.err
	}
	if state.dict.Len() == 0 {
		return nil // the checkpoint is of step 0
	}
	if state.dict.Len() == 1 && len(params) > 1 {
		whole, err := unflatten(network, state.dict)
		if err != nil {
			return err
		}
		state.dict = whole
	}
	if state.dict.Len() != len(params) {
		return fmt.Errorf("the state is of %d parameters, the network has %d", state.dict.Len(), len(params))
	}
	s.ExpAvg, s.ExpAvgSq = make([]gotorch.Tensor, len(params)), make([]gotorch.Tensor, len(params))
	for i, p := range params {
		entry := state.sub(i)
		m, v, step := entry.tensor("exp_avg"), entry.tensor("exp_avg_sq"), entry.scalar("step")
		if err := state.failed(entry); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if shape := p.Tensor.Shape(); !slices.Equal(m.Shape, shape) || !slices.Equal(v.Shape, shape) {
			return fmt.Errorf("%s: the moments have the shapes %v and %v, the parameter %v", p.Name, m.Shape, v.Shape, shape)
		}
		s.ExpAvg[i], s.ExpAvgSq[i], s.Updates = gotorch.FromPT(m), gotorch.FromPT(v), int64(step)
	}
	return nil
}

// scalar reads a number that PyTorch stores as a tensor of one element; old versions stored
// an int.
func (f *fields) scalar(key any) float64 {
	switch v := get[any](f, key).(type) {
	case nil: // f or its parent has the error
	case int64:
		return float64(v)
	case float64:
		return v
	case *pt.Tensor:
		if int64(len(v.Data)) == v.DType.Size() {
			return gotorch.FromPT(v).Float64()
		}
		f.err = fmt.Errorf("%s%v has the shape %v, not one element", f.path, key, v.Shape)
	default:
		f.err = fmt.Errorf("%s%v is a %s", f.path, key, pt.TypeName(v))
	}
	return 0
}

// unflatten splits the moments, which the reference's --use_fp16 stores as one vector over
// all parameters, by parameter.
func unflatten(network engine.Network, state *pt.Dict) (*pt.Dict, error) {
	f := fields{dict: state}
	entry := f.sub(0)
	m, v := entry.tensor("exp_avg"), entry.tensor("exp_avg_sq")
	if err := f.failed(entry); err != nil {
		return nil, err
	}
	if n := network.NumParameters(); len(m.Shape) != 1 || m.Shape[0] != n || len(v.Shape) != 1 || v.Shape[0] != n {
		return nil, fmt.Errorf("the state is of one parameter of shape %v, but the network has %d elements in total", m.Shape, n)
	}
	step, _ := entry.dict.Get("step")
	whole, at := new(pt.Dict), int64(0)
	for i, p := range network.Parameters() {
		shape := p.Tensor.Shape()
		n := p.Tensor.Numel()
		part := func(x *pt.Tensor) *pt.Tensor {
			size := x.DType.Size()
			return &pt.Tensor{DType: x.DType, Shape: shape, Data: x.Data[at*size : (at+n)*size]}
		}
		whole.Set(i, dictOf("step", step, "exp_avg", part(m), "exp_avg_sq", part(v)))
		at += n
	}
	return whole, nil
}
