package model

// Product is a convolution or matrix multiplication of a forward pass without fusion: the
// convolution after an upsampling has kernel 3 on the upsampled feature map, and attention
// is two products, queries by keys and attention weights by values.
type Product struct {
	Weight, Bias *Parameter // nil if both factors are activations
	Input        []int64    // [N, I, H, W] of a convolution; [..., I] of a linear layer; [B, M, K] of attention
	Other        []int64    // [B, K, N], the second factor if Weight is nil
	Transposed   bool       // Other's memory layout is [B, N, K]
	Stride       int64      // of a convolution
	Padding      int64      // of a convolution
	Half         bool       // in the compute-dtype region; else always float32
	NoGradient   bool       // the input (the image, or t) needs no gradient
	Embedding    bool       // the input depends on t and the class alone
	MACs         int64      // multiply-accumulate operations, forward
}

// TrainingMACs returns the multiply-accumulate operations of the product and of its
// gradients with respect to both factors.
func (p Product) TrainingMACs() int64 {
	if p.NoGradient {
		return 2 * p.MACs
	}
	return 3 * p.MACs
}

// Products returns the convolutions and matrix multiplications of one forward pass of n
// images, in order. imageSize is the width and height in pixels.
func (m *UNet) Products(n, imageSize int) []Product {
	e := products{n: int64(n)}
	e.timeEmbed(m.timeEmbed)
	first := len(e.list)
	m.each(imageSize, func(bl block, side int64) { e.block(bl, side) })
	e.list[first].NoGradient = true
	e.list[len(e.list)-1].Half = false // the last convolution
	return e.list
}

// MACs returns the multiply-accumulate operations of a forward pass of one image:
// convolutions, linear layers and attention.
func (m *UNet) MACs(imageSize int) int64 {
	return totalMACs(m.Products(1, imageSize))
}

// totalMACs returns the sum of the products' multiply-accumulate operations.
func totalMACs(list []Product) (total int64) {
	for _, p := range list {
		total += p.MACs
	}
	return total
}

// RecomputedMACs returns the multiply-accumulate operations that gradient checkpointing
// adds to a training step of one image: residual and attention blocks are recomputed.
func (m *UNet) RecomputedMACs(imageSize int) int64 {
	return recomputedMACs(append(m.encoderBlocks(), m.outputBlocks...), int64(imageSize))
}

// recomputedMACs counts the residual and attention blocks at an image of side pixels.
func recomputedMACs(blocks []block, side int64) int64 {
	e := products{n: 1}
	for _, bl := range blocks {
		size := bl.size(side)
		bl.conv, bl.up = nil, nil // not recomputed: a segment ends after these
		e.block(bl, side)
		side = size
	}
	return totalMACs(e.list)
}

// each visits the blocks in order, with the size of each block's input in pixels.
func (m *UNet) each(imageSize int, visit func(bl block, side int64)) {
	side := int64(imageSize)
	for _, bl := range append(m.encoderBlocks(), m.outputBlocks...) {
		visit(bl, side)
		side = bl.size(side)
	}
	visit(block{conv: m.outConv}, side)
}

// size returns the size of the block's output in pixels.
func (bl block) size(side int64) int64 {
	for _, c := range []*conv{bl.conv, bl.up} {
		if c != nil {
			side = c.size(side)
		}
	}
	for _, r := range []*resBlock{bl.res, bl.res2} {
		if r != nil {
			side = r.resample.size(side)
		}
	}
	return side
}

// size returns the size of the convolution's output in pixels.
func (c *conv) size(side int64) int64 { return c.resample.size(side) / c.stride[0] }

// products collects the products of a forward pass of n images.
type products struct {
	n    int64
	list []Product
}

// timeEmbed appends the MLP of the timestep embedding.
func (e *products) timeEmbed(t *timeEmbed) {
	e.embedding(t.first)
	e.list[0].NoGradient = true
	e.embedding(t.second)
}

// embedding appends a linear layer of the embedding, or of a block's projection of it.
func (e *products) embedding(l *linear) {
	e.linear(l, []int64{e.n}, false)
	e.list[len(e.list)-1].Embedding = true
}

func (e *products) block(bl block, side int64) {
	if bl.conv != nil {
		e.conv(bl.conv, side)
	}
	if bl.res != nil {
		e.res(bl.res, side)
	}
	if bl.attention != nil {
		e.attention(bl.attention, side)
	}
	if bl.up != nil {
		e.conv(bl.up, side)
	}
	if bl.res2 != nil {
		e.res(bl.res2, side)
	}
}

func (e *products) res(r *resBlock, side int64) {
	e.conv(r.inConv, side)
	e.embedding(r.emb)
	side = r.resample.size(side)
	e.conv(r.outConv, side)
	if r.skip != nil {
		e.conv(r.skip, side)
	}
}

func (e *products) conv(c *conv, side int64) {
	s, in, out := c.weight.Shape, c.resample.size(side), c.size(side)
	e.list = append(e.list, Product{
		Weight: c.weight, Bias: c.bias, Input: []int64{e.n, s[1], in, in}, Stride: c.stride[0], Padding: c.padding[0], Half: true,
		MACs: e.n * s[0] * s[1] * s[2] * s[3] * out * out,
	})
}

// linear appends a linear layer; shape is the input's without its last dimension.
func (e *products) linear(l *linear, shape []int64, half bool) {
	p := Product{Weight: l.weight, Bias: l.bias, Input: append(shape, l.in), Half: half, MACs: l.in * l.out}
	for _, s := range shape {
		p.MACs *= s
	}
	e.list = append(e.list, p)
}

func (e *products) attention(a *attention, side int64) {
	tokens := side * side
	e.linear(a.qkv, []int64{e.n, tokens}, true)
	e.attend(a.heads, tokens, a.proj.in/a.heads, true)
	e.linear(a.proj, []int64{e.n, tokens}, true)
}

// attend appends the two products of self-attention, with heads of width channels.
func (e *products) attend(heads, tokens, width int64, half bool) {
	batch := e.n * heads
	macs := batch * tokens * tokens * width
	e.list = append(e.list,
		Product{Input: []int64{batch, tokens, width}, Other: []int64{batch, width, tokens}, Transposed: true, Half: half, MACs: macs},
		Product{Input: []int64{batch, tokens, tokens}, Other: []int64{batch, tokens, width}, Half: half, MACs: macs})
}
