package model

import "github.com/wangkuiyi/gotorch"

// castWeights casts the weights of the compute-dtype region, all at once, except those
// that are frozen or folded, and deferred biases.
func (m *encoder) castWeights(dtype gotorch.DType, defersBias bool) map[*Parameter]gotorch.Tensor {
	var params []*Parameter
	var weights []gotorch.Tensor
	for _, p := range m.params {
		if dtype != gotorch.Float && p.autocast && !p.frozen.Defined() && !p.folds(dtype) && !(p.deferred && defersBias) {
			params, weights = append(params, p), append(weights, p.Tensor)
		}
	}
	casts := make(map[*Parameter]gotorch.Tensor, len(params))
	for i, cast := range gotorch.ForeachCastTo(weights, dtype) {
		casts[params[i]] = cast
	}
	return casts
}

// WorkingWeights returns copies of the weights of the compute-dtype region in dtype, as
// leaves that require gradients: see [Input.WorkingWeights]. In float32 there are none.
// Call it outside any scope; the caller owns the tensors.
func (m *encoder) WorkingWeights(dtype gotorch.DType) (working map[*Parameter]gotorch.Tensor) {
	gotorch.NoGrad(func() { working = m.castWeights(dtype, defersBias(m.params[0].Tensor)) })
	for _, leaf := range working {
		leaf.SetRequiresGrad(true)
	}
	return working
}

// Freeze keeps copies of the weights in dtype, cast, folded and ordered once for all later
// evaluations. Afterwards the weights must not change, and get no gradients. Call it
// outside any scope.
func (m *encoder) Freeze(dtype gotorch.DType) {
	if dtype == 0 {
		dtype = gotorch.Float
	}
	gotorch.NoGrad(func() {
		for _, p := range m.params {
			p.frozen.Free()
			p.frozen = gotorch.Tensor{}
			if dtype != gotorch.Float || p.folds(dtype) || p.heads > 0 {
				p.frozen = p.as(dtype)
			}
		}
	})
}
