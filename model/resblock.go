package model

import "github.com/wangkuiyi/gotorch"

// resBlock is the reference's ResBlock: norm, SiLU, convolution; the timestep embedding,
// added, or applied as scale and shift of the second norm; norm, SiLU, dropout,
// convolution; and the residual connection. A block that resamples does so before the first
// convolution and in the residual connection (Dhariwal & Nichol 2021, section 3).
type resBlock struct {
	inNorm, outNorm *norm
	inConv, outConv *conv
	emb             *linear
	skip            *conv // nil: the identity
	resample        resampling
	scaleShift      bool
	dropout         float64
	stream          uint32 // Philox stream of the dropout mask
}

func newResBlock(b builder, in, out int, resample resampling, u UNetConfig) *resBlock {
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
		resample:   resample,
		scaleShift: u.UseScaleShiftNorm,
		dropout:    u.Dropout,
		stream:     b.nextDropout(),
	}
	if in != out {
		r.skip = newConv(b.at("skip_connection"), in, out, 1, 1, false)
		r.skip.bias.deferred = true
	}
	r.inConv.resampleInput(resample)
	r.inConv.bias.deferred, r.outConv.bias.deferred = true, true
	return r
}

// forward maps x [N, in, H, W] to [N, out, H, W], or half or twice the size; emb is SiLU of the timestep embedding,
// [N, 4 channels]. If skip is defined, the input is x and skip, concatenated along their
// channels.
func (r *resBlock) forward(x, skip, emb gotorch.Tensor, p pass) gotorch.Tensor {
	var h gotorch.Tensor
	if skip.Defined() {
		h, x = r.inNorm.concat(x, skip, gotorch.GroupNormSiluOptions{})
	} else {
		h, x = r.inNorm.withInput(x, gotorch.GroupNormSiluOptions{})
	}
	x = r.resample.apply(x)
	e, known := p.emb[r.emb.weight]
	if !known {
		e = r.emb.forward(emb, p)
	}
	h, o := r.firstConv(h, e, p)
	if r.dropout > 0 && p.dropout != nil {
		key := p.dropoutKey(r.stream)
		o.Dropout, o.Key = r.dropout, &key
	}
	return r.lastConv(x, r.outNorm.with(h, o), p)
}

// firstConv returns the first convolution of h, and the options by which the second norm
// applies the embedding projection e.
func (r *resBlock) firstConv(h, e gotorch.Tensor, p pass) (gotorch.Tensor, gotorch.GroupNormSiluOptions) {
	switch {
	case r.scaleShift && p.defersBias:
		return r.inConv.withoutBias(h, p), gotorch.GroupNormSiluOptions{ScaleShift: e, InputBias: r.inConv.bias.Tensor}
	case r.scaleShift:
		return r.inConv.forward(h, p), gotorch.GroupNormSiluOptions{ScaleShift: e}
	case p.defersBias:
		return r.inConv.withoutBias(h, p), gotorch.GroupNormSiluOptions{InputBias: e.Add(r.inConv.bias.Tensor, 1)}
	}
	return r.inConv.forward(h, p), gotorch.GroupNormSiluOptions{InputBias: e}
}

// lastConv returns the last convolution of h plus the residual connection of x.
func (r *resBlock) lastConv(x, h gotorch.Tensor, p pass) gotorch.Tensor {
	switch {
	case p.defersBias && r.skip != nil:
		return gotorch.ResidualAdd(r.skip.withoutBias(x, p), r.outConv.withoutBias(h, p), r.outConv.bias.Tensor.Add(r.skip.bias.Tensor, 1))
	case p.defersBias:
		return gotorch.ResidualAdd(x, r.outConv.withoutBias(h, p), r.outConv.bias.Tensor)
	case r.skip != nil:
		x = r.skip.forward(x, p)
	}
	return x.Add(r.outConv.forward(h, p), 1)
}
