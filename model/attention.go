package model

import "github.com/wangkuiyi/gotorch"

// attention is the reference's AttentionBlock: multi-head self-attention over all
// pixels, with a residual connection.
type attention struct {
	norm      *norm
	qkv, proj *linear
	heads     int64
}

// newAttention returns attention with a number of heads, unless u fixes their channels.
func newAttention(b builder, channels, heads int, u UNetConfig) *attention {
	a := &attention{
		norm:  newNorm(b.at("norm"), channels),
		qkv:   newConv1d(b.at("qkv"), channels, 3*channels, false),
		proj:  newConv1d(b.at("proj_out"), channels, channels, true),
		heads: int64(u.Heads(channels, heads)),
	}
	if u.NewAttentionOrder {
		a.qkv.weight.heads, a.qkv.bias.heads = a.heads, a.heads
	}
	return a
}

// forward maps x [N, C, H, W] to the same shape. In channels-last memory the tokens
// [N, H W, C] are a view, so both projections are matrix multiplications.
func (a *attention) forward(x gotorch.Tensor, p pass) gotorch.Tensor {
	shape := x.Shape()
	n, c, h, w := shape[0], shape[1], shape[2], shape[3]
	normed, x := a.norm.withInput(x, gotorch.GroupNormSiluOptions{Linear: true})
	tokens := normed.Permute([]int64{0, 2, 3, 1}).Reshape(n, h*w, c)
	y := a.proj.forward(gotorch.SelfAttention(a.qkv.forward(tokens, p), a.heads), p)
	return x.Add(y.View(n, h, w, c).Permute([]int64{0, 3, 1, 2}), 1)
}
