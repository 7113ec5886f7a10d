package model

import "github.com/wangkuiyi/gotorch"

// resBlock is the reference's ResBlock: norm, SiLU, convolution; the timestep
// added, or applied as scale and shift of the second norm; norm, SiLU, dropout,
// convolution; and the skip connection around it all.
type resBlock struct {
	inNorm, outNorm *norm
	inConv, outConv *conv
	emb             *linear
	skip            *conv // nil: the identity
	scaleShift      bool
	dropout         float64
	stream          uint32 // of the dropout mask
}

func newResBlock(b builder, in, out int, u UNetConfig) *resBlock {
	embOut := out
	if u.UseScaleShiftNorm {
		embOut = 2 * out
	}
	r := &resBlock{
		inNorm:     newNorm(b.at("in_layers.0"), in),
		inConv:     newConv(b.at("in_layers.2"), in, out, 3, 1, false),
		emb:        newLinear(b.at("emb_layers.1"), 4*u.ModelChannels, embOut),
		outNorm:    newNorm(b.at("out_layers.0"), out),
		outConv:    newConv(b.at("out_layers.3"), out, out, 3, 1, true),
		scaleShift: u.UseScaleShiftNorm,
		dropout:    u.Dropout,
		stream:     b.nextDropout(),
	}
	if in != out {
		r.skip = newConv(b.at("skip_connection"), in, out, 1, 1, false)
	}
	return r
}

// forward maps x [N, in, H, W] to [N, out, H, W]; emb is SiLU of the timestep's
// embedding, [N, 4 channels].
func (r *resBlock) forward(x, emb gotorch.Tensor, p pass) gotorch.Tensor {
	h := r.between(r.inNorm.silu(x), r.emb.forward(emb))
	if r.dropout > 0 && p.dropout != nil {
		h = h.PhiloxDropout(r.dropout, p.dropoutKey(r.stream))
	}
	if r.skip != nil {
		x = r.skip.forward(x)
	}
	return r.outConv.addTo(x, h)
}

// between is the first convolution and the norm after it, into which e, the
// timestep's part, goes. On a GPU the convolution leaves its bias to the norm: it
// would add it by a pass of its own.
func (r *resBlock) between(h, e gotorch.Tensor) gotorch.Tensor {
	onCPU := h.Device().Type == gotorch.CPU
	switch {
	case r.scaleShift && onCPU:
		return r.outNorm.scaleShiftSilu(r.inConv.forward(h), e)
	case r.scaleShift:
		return r.outNorm.addSilu(r.inConv.withoutBias(h), r.inConv.bias.Tensor, e)
	case onCPU:
		return r.outNorm.addSilu(r.inConv.forward(h), e, gotorch.Tensor{})
	}
	return r.outNorm.addSilu(r.inConv.withoutBias(h), e.Add(r.inConv.bias.Tensor, 1), gotorch.Tensor{})
}
