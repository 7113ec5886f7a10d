package model

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// featureWidth is the width of the hidden layer of a featurePool.
const featureWidth = 2048

// pooling is the head of a classifier. It computes in float32.
type pooling interface {
	// forward maps the last feature map h [N, C, H, W], and those of all blocks of the encoder,
	// hs, to logits [N, classes].
	forward(h gotorch.Tensor, hs []gotorch.Tensor, p pass) gotorch.Tensor

	// products appends the matrix multiplications for feature maps of side pixels.
	products(e *products, side int64)

	// memory returns the pooling's memory in a step, for feature maps of side pixels. results are
	// the bytes of the feature maps of all blocks.
	memory(w *memoryWalk, side, results int64) layerMemory
}

// meanPool is PoolAdaptive: norm, SiLU, mean, and a linear layer.
type meanPool struct {
	norm *norm
	out  *linear
}

func newMeanPool(b builder, channels, classes int) *meanPool {
	return &meanPool{norm: newNorm(b.at("0"), channels), out: newConv1x1(b.at("3"), channels, classes)}
}

func (a *meanPool) forward(h gotorch.Tensor, _ []gotorch.Tensor, p pass) gotorch.Tensor {
	return a.out.forward(a.norm.silu(h.CastTo(gotorch.Float)).MeanDims(false, 2, 3), p)
}

func (a *meanPool) products(e *products, _ int64) { e.linear(a.out, []int64{e.n}, false) }

func (a *meanPool) memory(w *memoryWalk, side, _ int64) layerMemory {
	l := w.pooled(a.norm, a.out.in, side)
	l.weights += w.weights(a.out.weight, a.out.bias)
	return l
}

// attentionPool is PoolAttention: norm and SiLU; multi-head self-attention over all pixels and
// their mean, with learned positions, whose result at the mean is projected to logits.
type attentionPool struct {
	norm      *norm
	positions *Parameter // [C, 1 + H W], the mean first
	qkv, out  *linear
	heads     int64
}

func newAttentionPool(b builder, channels, side, headChannels, classes int) *attentionPool {
	a := &attentionPool{norm: newNorm(b.at("0"), channels), heads: int64(channels / headChannels)}
	b = b.at("2")
	positions := func(t gotorch.Tensor) {
		t.NormalI(0, 1, b.generator)
		t.DivI(gotorch.FullOn(gotorch.Device{}, gotorch.Float, math.Sqrt(float64(channels)), 1))
	}
	a.positions = b.param("positional_embedding", positions, int64(channels), int64(side*side+1))
	a.qkv = newPlainConv1d(b.at("qkv_proj"), channels, 3*channels)
	a.out = newPlainConv1d(b.at("c_proj"), channels, classes)
	a.qkv.weight.heads, a.qkv.bias.heads = a.heads, a.heads
	return a
}

func (a *attentionPool) forward(h gotorch.Tensor, _ []gotorch.Tensor, p pass) gotorch.Tensor {
	h = a.norm.silu(h.CastTo(gotorch.Float))
	n, c := h.Size(0), h.Size(1)
	tokens := h.Permute([]int64{0, 2, 3, 1}).Reshape(n, h.Size(2)*h.Size(3), c)
	tokens = gotorch.Cat([]gotorch.Tensor{tokens.MeanDims(true, 1), tokens}, 1)
	tokens = tokens.Add(p.as(a.positions, gotorch.Float).Transpose(0, 1), 1)
	y := gotorch.SelfAttention(a.qkv.forward(tokens, p), a.heads)
	return a.out.forward(y.Select(1, 0), p)
}

func (a *attentionPool) products(e *products, side int64) {
	tokens := side*side + 1
	e.linear(a.qkv, []int64{e.n, tokens}, false)
	e.attend(a.heads, tokens, a.qkv.in/a.heads, false)
	e.linear(a.out, []int64{e.n}, false)
}

func (a *attentionPool) memory(w *memoryWalk, side, _ int64) layerMemory {
	l := w.pooled(a.norm, a.qkv.in, side)
	l.weights += w.weights(a.positions, a.qkv.weight, a.qkv.bias, a.out.weight, a.out.bias)
	// As in an attention block: tokens without and with positions; queries, keys and values;
	// attention with its log-sum-exp.
	tokens := 4 * int64(w.Images) * a.qkv.in * (side*side + 1)
	l.outputs += 6*tokens + 4*int64(w.Images)*a.heads*(side*side+1)
	l.gradients = max(l.gradients, 7*tokens)
	return l
}

// featurePool is PoolSpatial and PoolSpatialV2: the means of the feature maps of all blocks, and
// an MLP with one hidden layer.
type featurePool struct {
	hidden, out *linear
	norm        *norm // nil: ReLU instead of group norm and SiLU
}

func newFeaturePool(b builder, features, classes int, normalized bool) *featurePool {
	a := &featurePool{hidden: newLinear(b.at("0"), features, featureWidth)}
	if !normalized {
		a.out = newLinear(b.at("2"), featureWidth, classes)
		return a
	}
	a.norm = newNorm(b.at("1"), featureWidth)
	a.out = newLinear(b.at("3"), featureWidth, classes)
	return a
}

func (a *featurePool) forward(h gotorch.Tensor, hs []gotorch.Tensor, p pass) gotorch.Tensor {
	means := make([]gotorch.Tensor, 0, len(hs)+1)
	for _, x := range append(hs, h) {
		means = append(means, x.CastTo(gotorch.Float).MeanDims(false, 2, 3))
	}
	hidden := a.hidden.forward(gotorch.Cat(means, 1), p)
	if a.norm == nil {
		return a.out.forward(hidden.Relu(), p)
	}
	n := hidden.Size(0)
	return a.out.forward(a.norm.silu(hidden.View(n, featureWidth, 1, 1)).View(n, featureWidth), p)
}

func (a *featurePool) products(e *products, _ int64) {
	e.linear(a.hidden, []int64{e.n}, false)
	e.linear(a.out, []int64{e.n}, false)
}

// memory counts the gradients of all blocks' feature maps, which live until the encoder's
// backward pass has reached them.
func (a *featurePool) memory(w *memoryWalk, _, results int64) layerMemory {
	vectors := 4 * int64(w.Images) * 2 * (a.hidden.in + a.hidden.out)
	l := layerMemory{outputs: vectors, gradients: vectors + results, skipGrad: results}
	l.weights = w.weights(a.hidden.weight, a.hidden.bias, a.out.weight, a.out.bias)
	if w.ElementBytes < 4 {
		l.outputs += 4 / w.ElementBytes * results // casts to float32
	}
	return l
}
