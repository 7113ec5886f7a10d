package model

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// Config returns the arguments that the network was built from.
func (m *UNet) Config() UNetConfig { return m.config }

// Parameters returns all parameters in PyTorch's named_parameters() order.
func (m *UNet) Parameters() []*Parameter { return m.params }

// Tensors returns the parameters' tensors in the same order.
func (m *UNet) Tensors() []gotorch.Tensor {
	tensors := make([]gotorch.Tensor, len(m.params))
	for i, p := range m.params {
		tensors[i] = p.Tensor
	}
	return tensors
}

// NumParameters returns the number of values that training learns.
func (m *UNet) NumParameters() int64 {
	total := int64(0)
	for _, p := range m.params {
		n := int64(1)
		for _, s := range p.Shape {
			n *= s
		}
		total += n
	}
	return total
}

// MACs returns the multiply-accumulate operations of one evaluation on one
// picture of the given side: convolutions, linear layers and attention.
func (m *UNet) MACs(imageSize int) int64 {
	total := m.timeEmbed.first.in*m.timeEmbed.first.out + m.timeEmbed.second.in*m.timeEmbed.second.out
	m.each(imageSize, func(bl block, side int64) { total += bl.macs(side, side) })
	return total
}

// each visits the blocks in order, with the side of each one's input.
func (m *UNet) each(imageSize int, visit func(bl block, side int64)) {
	side := int64(imageSize)
	for _, bl := range m.inputBlocks {
		visit(bl, side)
		if bl.conv != nil {
			side /= bl.conv.stride[0]
		}
	}
	visit(m.middleBlock, side)
	for _, bl := range m.outputBlocks {
		visit(bl, side)
		if bl.up != nil {
			side *= 2
		}
	}
	visit(block{conv: m.outConv}, side)
}

func (bl block) macs(h, w int64) (total int64) {
	if bl.conv != nil {
		total += bl.conv.macs(h, w)
	}
	if bl.res != nil {
		total += bl.res.macs(h, w)
	}
	if bl.attention != nil {
		total += bl.attention.macs(h, w)
	}
	if bl.res2 != nil {
		total += bl.res2.macs(h, w)
	}
	if bl.up != nil {
		total += bl.up.conv.macs(2*h, 2*w)
	}
	return total
}

// To moves the parameters to a device. It must come before the parameters'
// tensors are handed to an optimizer.
func (m *UNet) To(device gotorch.Device) {
	for _, p := range m.params {
		p.Tensor = p.Tensor.To(device)
	}
}

// SetRequiresGrad sets whether gradients are recorded for the parameters.
func (m *UNet) SetRequiresGrad(on bool) {
	for _, p := range m.params {
		p.Tensor.SetRequiresGrad(on)
	}
}

// Free ends the parameters' tensors.
func (m *UNet) Free() {
	for _, p := range m.params {
		p.Tensor.Free()
		p.frozen.Free()
	}
}

// String names the network's size in a line.
func (m *UNet) String() string {
	return fmt.Sprintf("UNet of %.1f M parameters", float64(m.NumParameters())/1e6)
}
