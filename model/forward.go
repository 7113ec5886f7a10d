package model

import (
	"cmp"
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// Forward evaluates the network at x [N, InChannels, H, W] and timesteps t [N], and
// returns [N, OutChannels, H, W] in float32.
func (m *UNet) Forward(x, t gotorch.Tensor, in Input) gotorch.Tensor {
	return m.forward(x, t, in, defersBias(x))
}

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
// one matrix multiplication, by the projection's weight.
func projections(list []block, emb gotorch.Tensor, p pass) map[*Parameter]gotorch.Tensor {
	var keys []*Parameter
	var weights, biases []gotorch.Tensor
	for _, bl := range list {
		for _, r := range []*resBlock{bl.res, bl.res2} {
			if r != nil {
				keys, weights, biases = append(keys, r.emb.weight), append(weights, r.emb.weight.Tensor), append(biases, r.emb.bias.Tensor)
			}
		}
	}
	all := make(map[*Parameter]gotorch.Tensor, len(keys))
	for i, e := range p.segments.leaves(gotorch.LinearEach(emb, weights, biases)...) {
		all[keys[i]] = e
	}
	return all
}
