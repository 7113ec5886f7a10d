package model

import (
	"github.com/wangkuiyi/gotorch"
)

// Config returns the arguments that the network was built from.
func (m *encoder) Config() UNetConfig { return m.config }

// Parameters returns all parameters in PyTorch's named_parameters() order.
func (m *encoder) Parameters() []*Parameter { return m.params }

// Tensors returns the parameters' tensors in the same order.
func (m *encoder) Tensors() []gotorch.Tensor {
	tensors := make([]gotorch.Tensor, len(m.params))
	for i, p := range m.params {
		tensors[i] = p.Tensor
	}
	return tensors
}

// WithWeights calls f while the network has other weights, in the order of Tensors, such as EMA
// weights during training, and then restores its own. Weights are copied in place, so captured CUDA
// graphs remain valid. Call it on the tensor thread.
func (m *encoder) WithWeights(weights []gotorch.Tensor, f func()) {
	gotorch.Scope(func() {
		params := m.Tensors()
		own := make([]gotorch.Tensor, len(params))
		for i, p := range params {
			own[i] = p.Detach().Clone()
		}
		put := func(weights []gotorch.Tensor) { gotorch.NoGrad(func() { gotorch.ForeachCopyI(params, weights) }) }
		defer put(own)
		put(weights)
		f()
	})
}

// NumParameters returns the number of trainable values.
func (m *encoder) NumParameters() int64 {
	total := int64(0)
	for _, p := range m.params {
		total += p.numel()
	}
	return total
}

// To moves the parameters to a device. Call it before passing the parameters' tensors to
// an optimizer.
func (m *encoder) To(device gotorch.Device) {
	for _, p := range m.params {
		p.Tensor = p.Tensor.To(device)
	}
}

// SetRequiresGrad enables or disables gradient tracking for the parameters.
func (m *encoder) SetRequiresGrad(on bool) {
	for _, p := range m.params {
		p.Tensor.SetRequiresGrad(on)
	}
}

// Free frees the parameters' tensors.
func (m *encoder) Free() {
	for _, p := range m.params {
		p.Tensor.Free()
		p.frozen.Free()
	}
}
