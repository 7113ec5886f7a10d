package model

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch"
)

// encoder is the half of the UNet that halves the resolution, with the middle block: what a
// denoiser and a classifier have in common.
type encoder struct {
	config UNetConfig
	params []*Parameter // of the whole network

	timeEmbed   *timeEmbed
	inputBlocks []block
	middleBlock block
}

// block is one entry of input_blocks, middle_block or output_blocks. The layers that are
// not nil run in the order of the fields.
type block struct {
	conv      *conv // the first convolution, or a downsampling
	res       *resBlock
	attention *attention
	up        *conv // upsampling
	res2      *resBlock

	skipChannels int64 // in the decoder: the number of res's input channels from the skip connection
}

// builder returns the builder of the network's parameters.
func (m *encoder) builder(generator *gotorch.Generator) builder {
	return builder{eps: cmp.Or(m.config.NormEps, normEps), params: &m.params, generator: generator, dropouts: new(uint32)}
}

// buildInput builds the encoder and returns the number of channels of each block's skip
// connection.
func (m *encoder) buildInput(b builder) (channels []int) {
	u := m.config
	ch := u.stemWidth()
	add := func(bl block) {
		m.inputBlocks = append(m.inputBlocks, bl)
		channels = append(channels, ch)
	}
	next := func() builder { return b.at(fmt.Sprint(len(m.inputBlocks))) }
	add(block{conv: newConv(next().at("0"), u.inputWidth(), ch, 3, 1, false)})
	for level := range u.ChannelMult {
		for range u.NumResBlocks {
			at := next()
			bl := block{res: newResBlock(at.at("0"), ch, u.Width(level), keepSize, u)}
			ch = u.Width(level)
			if u.Attends(1 << level) {
				bl.attention = newAttention(at.at("1"), ch, u.NumHeads, u)
			}
			add(bl)
		}
		switch at := next().at("0"); {
		case level == len(u.ChannelMult)-1: // the last level is not downsampled
		case u.ResBlockUpDown:
			add(block{res: newResBlock(at, ch, ch, halveSize, u)})
		default:
			add(block{conv: newDownsample(at, ch, u.AsymmetricPadding)})
		}
	}
	return channels
}

func (m *encoder) buildMiddle(b builder, ch int) {
	m.middleBlock = block{
		res:       newResBlock(b.at("0"), ch, ch, keepSize, m.config),
		attention: newAttention(b.at("1"), ch, m.config.NumHeads, m.config),
		res2:      newResBlock(b.at("2"), ch, ch, keepSize, m.config),
	}
}

// encoderBlocks returns a new list of the encoder's blocks and the middle block.
func (m *encoder) encoderBlocks() []block {
	return append(slices.Clone(m.inputBlocks), m.middleBlock)
}

// encode evaluates the encoder and the middle block at x [N, C, H, W] and emb, in x's dtype. It
// returns the result and the outputs of input_blocks.
func (m *encoder) encode(x, emb gotorch.Tensor, p pass, watch func(string, gotorch.Tensor)) (h gotorch.Tensor, hs []gotorch.Tensor) {
	h = x
	for i, bl := range m.inputBlocks {
		h = releasing(func() gotorch.Tensor { return bl.forward(h, gotorch.Tensor{}, emb, p) })
		watch(fmt.Sprintf("input_blocks.%d", i), h)
		hs = append(hs, h)
	}
	h = releasing(func() gotorch.Tensor { return m.middleBlock.forward(h, gotorch.Tensor{}, emb, p) })
	watch("middle_block", h)
	return h, hs
}

// forward evaluates the block at h and, in the decoder, the skip connection.
func (bl block) forward(h, skip, emb gotorch.Tensor, p pass) gotorch.Tensor {
	if bl.conv != nil {
		h = p.segments.leaf(bl.conv.forward(h, p))
	}
	if bl.res != nil {
		h = p.segments.checkpoint(func(in ...gotorch.Tensor) gotorch.Tensor { return bl.res.forward(in[0], in[1], in[2], p) }, h, skip, emb)
	}
	if bl.attention != nil {
		h = p.segments.checkpoint(func(in ...gotorch.Tensor) gotorch.Tensor { return bl.attention.forward(in[0], p) }, h)
	}
	if bl.up != nil {
		h = p.segments.leaf(bl.up.forward(h, p))
	}
	if bl.res2 != nil {
		h = p.segments.checkpoint(func(in ...gotorch.Tensor) gotorch.Tensor { return bl.res2.forward(in[0], gotorch.Tensor{}, in[1], p) }, h, emb)
	}
	return h
}

// releasing runs a block. Without gradient tracking it frees the block's intermediate
// tensors and the inputs in used.
func releasing(block func() gotorch.Tensor, used ...gotorch.Tensor) (h gotorch.Tensor) {
	if gotorch.IsGradEnabled() {
		return block()
	}
	gotorch.Scope(func() { h = block().MoveOut() })
	for _, x := range used {
		x.Free()
	}
	return h
}
