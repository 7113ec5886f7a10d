package model

import (
	"cmp"
	"fmt"

	"github.com/wangkuiyi/gotorch"

	"iddpm/streams"
)

// Input are the optional arguments of [UNet.Forward]. The zero Input evaluates an
// unconditional network in float32, without dropout.
type Input struct {
	Y       gotorch.Tensor     // class labels [N], int64; needed if and only if the network is class-conditional
	LowRes  gotorch.Tensor     // for super-resolution: the low-resolution images [N, C, h, w] in [-1, 1]
	Dtype   gotorch.DType      // compute dtype: Float (or 0), BFloat16 or Half; embeddings, sums of norms and softmax stay float32
	Dropout *gotorch.PhiloxKey // key of the dropout masks (each layer sets Stream); nil: no dropout
	// Segments, if not nil, runs the backward pass in segments: Segments.Backward must follow
	// the loss's Backward.
	Segments *Segments

	// WorkingWeights are copies in Dtype of the float32 master weights. They receive the
	// gradients, and the optimizer updates them together with the master weights. nil: each
	// forward pass casts the weights.
	WorkingWeights map[*Parameter]gotorch.Tensor

	// Watch, if not nil, is called with the output of each block, in order, and the block's
	// name in the state_dict. It serves to locate non-finite values.
	Watch func(block string, h gotorch.Tensor)
}

// pass holds the state that all blocks of one forward pass share.
type pass struct {
	defersBias bool // the next operator adds a convolution's bias: on a GPU cuDNN would add it in a separate kernel
	dropout    *gotorch.PhiloxKey
	segments   *Segments
	casts      map[*Parameter]gotorch.Tensor // weights in the compute dtype: Input.WorkingWeights, or UNet.castWeights
	emb        map[*resBlock]gotorch.Tensor  // each residual block's embedding projection, if computed for all at once
}

func (p pass) dropoutKey(layer uint32) gotorch.PhiloxKey {
	key := *p.dropout
	key.Stream = streams.Dropout + layer
	return key
}

// Forward evaluates the network at x [N, InChannels, H, W] and timesteps t [N], and
// returns [N, OutChannels, H, W] in float32.
func (m *UNet) Forward(x, t gotorch.Tensor, in Input) gotorch.Tensor {
	return m.forward(x, t, in, defersBias(x))
}

// defersBias reports whether convolutions on x's device leave their biases to the next
// operator.
func defersBias(x gotorch.Tensor) bool { return x.Device().Type == gotorch.CUDA }

func (m *UNet) forward(x, t gotorch.Tensor, in Input, defersBias bool) gotorch.Tensor {
	p, dtype, watch := m.begin(in, defersBias)
	if m.config.SuperRes {
		x = gotorch.Cat([]gotorch.Tensor{x, gotorch.UpsampleBilinear2d(in.LowRes, x.Size(2), x.Size(3))}, 1)
	}
	emb := p.segments.leaf(m.embed(t, in.Y, p))
	watch("time_embed", emb)
	if !in.Segments.recomputes() { // otherwise each block recomputes its projection
		p.emb = projections(append(m.encoderBlocks(), m.outputBlocks...), emb, p)
	}
	h, hs := m.encode(x.CastTo(dtype).ChannelsLast(), emb, p, watch)
	for i, bl := range m.outputBlocks {
		h = releasing(func() gotorch.Tensor { return bl.forward(h, hs[len(hs)-1-i], emb, p) }, h, hs[len(hs)-1-i])
		watch(fmt.Sprintf("output_blocks.%d", i), h)
	}
	h = m.outConv.forward(m.outNorm.silu(h.CastTo(gotorch.Float)), p)
	watch("out", h)
	return h
}

// begin returns the state, the compute dtype and the callback of a forward pass.
func (m *encoder) begin(in Input, defersBias bool) (p pass, dtype gotorch.DType, watch func(string, gotorch.Tensor)) {
	p = pass{dropout: in.Dropout, segments: in.Segments, defersBias: defersBias, casts: in.WorkingWeights}
	dtype, watch = cmp.Or(in.Dtype, gotorch.Float), in.Watch
	if in.Segments == nil && in.WorkingWeights == nil { // with segments, each segment's graph has its own casts
		p.casts = m.castWeights(dtype, defersBias)
	}
	if watch == nil {
		watch = func(string, gotorch.Tensor) {}
	}
	return p, dtype, watch
}

// embed returns SiLU of the embedding of t and y, [N, 4 channels]: every block's
// projection starts with this SiLU.
func (m *UNet) embed(t, y gotorch.Tensor, p pass) gotorch.Tensor {
	emb := m.timeEmbed.forward(t, p)
	if m.labelEmb != nil {
		emb = emb.Add(gotorch.Embedding(m.labelEmb.Tensor, y), 1)
	}
	return emb.Silu()
}

// projections returns the embedding projection of each residual block of list, computed by
// one matrix multiplication.
func projections(list []block, emb gotorch.Tensor, p pass) map[*resBlock]gotorch.Tensor {
	var blocks []*resBlock
	var weights, biases []gotorch.Tensor
	for _, bl := range list {
		for _, r := range []*resBlock{bl.res, bl.res2} {
			if r != nil {
				blocks, weights, biases = append(blocks, r), append(weights, r.emb.weight.Tensor), append(biases, r.emb.bias.Tensor)
			}
		}
	}
	all := make(map[*resBlock]gotorch.Tensor, len(blocks))
	for i, e := range p.segments.leaves(gotorch.LinearEach(emb, weights, biases)...) {
		all[blocks[i]] = e
	}
	return all
}
