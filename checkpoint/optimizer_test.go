package checkpoint

import (
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
	"iddpm/train/engine"
)

func TestUnpackOptimizerRefuses(t *testing.T) {
	network, err := model.New(tinyUNet(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer network.Free()
	one := &pt.Tensor{DType: pt.Float32, Shape: []int64{1}, Data: make([]byte, 4)}
	two := &pt.Tensor{DType: pt.Float32, Shape: []int64{2}, Data: make([]byte, 8)}
	// stateOf is the state of all parameters, numbered from first. It has moments of their shapes
	// unless one is given.
	stateOf := func(first int, step any, moment *pt.Tensor) *pt.Dict {
		state := new(pt.Dict)
		for i, p := range network.Parameters() {
			own := moment
			if own == nil {
				own = p.Tensor.PT()
			}
			state.Set(first+i, dictOf("step", step, "exp_avg", own, "exp_avg_sq", own))
		}
		return state
	}
	for want, state := range map[string]*pt.Dict{
		"state.0 is missing":                            stateOf(1, one, nil),
		"state.0.step has the shape [2]":                stateOf(0, two, nil),
		"state.0.step is a str":                         stateOf(0, "3", nil),
		"state.0.step is a None":                        stateOf(0, nil, nil),
		"the moments have the shapes [1] and [1]":       stateOf(0, one, one),
		"the state is of 2 parameters, the network has": dictOf(int64(0), one, int64(1), one),
	} {
		var s engine.State
		gotorch.Scope(func() { err = unpackOptimizer(network, dictOf("state", state), &s) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, step := range []any{one, int64(7), 7.0} {
		var s engine.State
		gotorch.Scope(func() { err = unpackOptimizer(network, dictOf("state", stateOf(0, step, nil)), &s) })
		if err != nil || len(s.ExpAvg) != len(network.Parameters()) {
			t.Errorf("step %v: %v", step, err)
		}
	}
}
