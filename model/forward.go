package model

import (
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch"
)

// Input is what the network takes beside x and t. The zero Input evaluates an
// unconditional network in float32, without dropout.
type Input struct {
	Y       gotorch.Tensor     // class labels [N], int64; needed if and only if the network is class-conditional
	LowRes  gotorch.Tensor     // for super-resolution: the small pictures [N, C, h, w] in [-1, 1]
	Dtype   int8               // of the torso: Float (or 0), BFloat16 or Half; embeddings, norms' sums and softmax stay float32
	Dropout *gotorch.PhiloxKey // nil: no dropout; else what names its masks (Stream is set per layer)
	Tape    *Tape              // not nil: the way back goes in parts, and Tape.Backward must follow the loss's

	// Copies stand for the torso's weights, in Dtype; they get the gradients, and whoever
	// changes the weights changes them, too. nil: each evaluation casts the weights.
	Copies map[*Parameter]gotorch.Tensor

	// Watch sees what each block puts out, in order, under the block's name in the
	// state_dict: for finding where numbers go bad. nil: nobody looks.
	Watch func(block string, h gotorch.Tensor)
}

// pass is what all blocks of one forward pass share.
type pass struct {
	defersBias bool // convolutions leave their biases to what comes next, as on a GPU, where they would add them by a kernel of their own
	dropout    *gotorch.PhiloxKey
	tape       *Tape
	casts      map[*Parameter]gotorch.Tensor // what stands for the torso's weights: see Input.Copies and UNet.castWeights
	emb        map[*resBlock]gotorch.Tensor  // what each residual block takes of the embedding, if it was worked out for all at once
}

// dropoutStreams is where the streams of dropout masks begin: those below are
// for the callers' own noise.
const dropoutStreams = 1 << 16

func (p pass) dropoutKey(layer uint32) gotorch.PhiloxKey {
	key := *p.dropout
	key.Stream = dropoutStreams + layer
	return key
}

// Forward returns the network's output [N, OutChannels, H, W], float32, for
// x [N, InChannels, H, W] in [-1, 1] at timesteps t [N].
func (m *UNet) Forward(x, t gotorch.Tensor, in Input) gotorch.Tensor {
	return m.forward(x, t, in, defersBias(x))
}

// defersBias reports whether convolutions leave their biases to what comes next where
// x is: see pass.
func defersBias(x gotorch.Tensor) bool { return x.Device().Type == gotorch.CUDA }

func (m *UNet) forward(x, t gotorch.Tensor, in Input, defersBias bool) gotorch.Tensor {
	p := pass{dropout: in.Dropout, tape: in.Tape, defersBias: defersBias, casts: in.Copies}
	dtype := in.Dtype
	if dtype == 0 {
		dtype = gotorch.Float
	}
	if in.Tape == nil && in.Copies == nil { // with a tape each block has a graph of its own
		p.casts = m.castWeights(dtype, defersBias)
	}
	if m.config.SuperRes {
		x = gotorch.Cat([]gotorch.Tensor{x, gotorch.UpsampleBilinear2d(in.LowRes, x.Size(2), x.Size(3))}, 1)
	}
	watch := in.Watch
	if watch == nil {
		watch = func(string, gotorch.Tensor) {}
	}
	emb := p.tape.leaf(m.embed(t, in.Y, p))
	watch("time_embed", emb)
	if !in.Tape.recomputes() { // else each block works it out again
		p.emb = m.projections(emb, p)
	}
	h := x.CastTo(dtype).ChannelsLast()
	hs := make([]gotorch.Tensor, 0, len(m.inputBlocks))
	for i, bl := range m.inputBlocks {
		h = tight(func() gotorch.Tensor { return bl.forward(h, gotorch.Tensor{}, emb, p) })
		watch(fmt.Sprintf("input_blocks.%d", i), h)
		hs = append(hs, h)
	}
	h = tight(func() gotorch.Tensor { return m.middleBlock.forward(h, gotorch.Tensor{}, emb, p) })
	watch("middle_block", h)
	for i, bl := range m.outputBlocks {
		h = tight(func() gotorch.Tensor { return bl.forward(h, hs[len(hs)-1-i], emb, p) }, h, hs[len(hs)-1-i])
		watch(fmt.Sprintf("output_blocks.%d", i), h)
	}
	h = m.outConv.forward(m.outNorm.silu(h.CastTo(gotorch.Float)), p)
	watch("out", h)
	return h
}

// embed returns SiLU of the embedding of t and y, [N, 4 channels]: all blocks
// begin with that SiLU, so it is taken once.
func (m *UNet) embed(t, y gotorch.Tensor, p pass) gotorch.Tensor {
	emb := m.timeEmbed.forward(t, p)
	if m.labelEmb != nil {
		emb = emb.Add(gotorch.Embedding(m.labelEmb.Tensor, y), 1)
	}
	return emb.Silu()
}

// projections returns what every residual block takes of the embedding, by one
// matrix product.
func (m *UNet) projections(emb gotorch.Tensor, p pass) map[*resBlock]gotorch.Tensor {
	var blocks []*resBlock
	var weights, biases []gotorch.Tensor
	for _, bl := range slices.Concat(m.inputBlocks, []block{m.middleBlock}, m.outputBlocks) {
		for _, r := range []*resBlock{bl.res, bl.res2} {
			if r != nil {
				blocks, weights, biases = append(blocks, r), append(weights, r.emb.weight.Tensor), append(biases, r.emb.bias.Tensor)
			}
		}
	}
	all := make(map[*resBlock]gotorch.Tensor, len(blocks))
	for i, e := range p.tape.leaves(gotorch.LinearEach(emb, weights, biases)...) {
		all[blocks[i]] = e
	}
	return all
}

// forward maps h, on the way up together with what was kept on the way down.
func (bl block) forward(h, skip, emb gotorch.Tensor, p pass) gotorch.Tensor {
	if bl.conv != nil {
		h = p.tape.leaf(bl.conv.forward(h, p))
	}
	if bl.res != nil {
		h = p.tape.checkpoint(func(in ...gotorch.Tensor) gotorch.Tensor { return bl.res.forward(in[0], in[1], in[2], p) }, h, skip, emb)
	}
	if bl.attention != nil {
		h = p.tape.checkpoint(func(in ...gotorch.Tensor) gotorch.Tensor { return bl.attention.forward(in[0], p) }, h)
	}
	if bl.up != nil {
		h = p.tape.leaf(bl.up.forward(h, p))
	}
	if bl.res2 != nil {
		h = p.tape.checkpoint(func(in ...gotorch.Tensor) gotorch.Tensor { return bl.res2.forward(in[0], gotorch.Tensor{}, in[1], p) }, h, emb)
	}
	return h
}

// tight runs a block and keeps nothing of it but its result, if the way back will not
// ask for the rest; inputs of which that was the last use go, too.
func tight(block func() gotorch.Tensor, used ...gotorch.Tensor) (h gotorch.Tensor) {
	if gotorch.IsGradEnabled() {
		return block()
	}
	gotorch.Scope(func() { h = block().MoveOut() })
	for _, x := range used {
		x.Free()
	}
	return h
}
