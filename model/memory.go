package model

// StepMemory is a training step on a GPU, as far as its memory goes. The zero values of
// the booleans are one microbatch in float32, or in float16, without checkpointing.
type StepMemory struct {
	Images       int   // in a microbatch
	ImageSize    int   // pixels to a side
	ElementBytes int64 // of activations in the compute dtype: 4, or 2 in bfloat16 and float16

	// WorkingWeights says that 16-bit working weights stand beside the master weights and get
	// the gradients. Without them a 16-bit evaluation casts the weights.
	WorkingWeights bool

	// Accumulates says that the gradients of several microbatches are summed, in float32.
	Accumulates bool

	Checkpointing bool // gradient checkpointing
}

// StepBytes returns the most bytes of tensors that a training step holds at once beside
// weights, working weights, the optimizer's state and EMA weights: activations, their
// gradients, and those of the weights. It walks forward and back through the layers as
// forward.go and autograd do on a GPU, where the output of every operator lives until the
// backward pass is over, and a gradient until it has been used.
func (m *UNet) StepBytes(s StepMemory) int64 {
	w := memoryWalk{StepMemory: s, live: m.castBytes(s)}
	var skips []int64 // gradients of the encoder's outputs that come from the decoder
	m.each(s.ImageSize, func(bl block, side int64) {
		if bl.conv == m.outConv {
			w.output(m, side)
			return
		}
		out := w.block(bl, side)
		if len(skips) < len(m.inputBlocks) {
			skips = append(skips, out)
			w.layers[len(w.layers)-1].joins = out
		}
	})
	w.input(m)
	w.backward()
	return max(w.peak, m.sumBytes(s))
}

// WorkingWeightBytes returns what 16-bit working weights take: see [UNet.WorkingWeights].
func (m *UNet) WorkingWeightBytes() int64 { return 2 * m.autocastValues() }

// autocastValues counts the weights that a GPU uses in the compute dtype.
func (m *UNet) autocastValues() (n int64) {
	for _, p := range m.params {
		if p.autocast && !p.deferred {
			n += p.numel()
		}
	}
	return n
}

// castsAtOnce reports whether each evaluation casts all weights first.
func (s StepMemory) castsAtOnce() bool {
	return s.ElementBytes < 4 && !s.WorkingWeights && !s.Checkpointing
}

// castBytes returns what stands through a whole evaluation: casts of the weights, and
// what earlier microbatches have left.
func (m *UNet) castBytes(s StepMemory) (bytes int64) {
	if s.castsAtOnce() {
		bytes += 2 * m.autocastValues()
	}
	if s.Accumulates {
		bytes += 4 * m.NumParameters()
	}
	return bytes
}

// sumBytes returns what there is when a microbatch's 16-bit gradients are cast to be summed.
func (m *UNet) sumBytes(s StepMemory) int64 {
	if !s.Accumulates || !s.WorkingWeights {
		return 0
	}
	return 8*m.NumParameters() + 2*m.autocastValues()
}

// memoryWalk adds up bytes along a step.
type memoryWalk struct {
	StepMemory
	layers     []layerMemory
	live, peak int64
}

// layerMemory is what a layer, or a block of them, takes in a step, in bytes.
type layerMemory struct {
	outputs   int64 // of its operators, which live until the backward pass is over
	recompute int64 // of those that gradient checkpointing drops and makes again
	gradients int64 // most bytes of activations' gradients at once on its way back
	weights   int64 // gradients of its weights
	waits     int64 // of its input's gradient, what waits for the encoder
	joins     int64 // what has waited for its output's gradient
}

// backward goes back through the layers.
func (w *memoryWalk) backward() {
	for _, l := range w.layers {
		w.live += l.outputs
	}
	w.peak = w.live
	for i := len(w.layers) - 1; i >= 0; i-- {
		l := w.layers[i]
		w.live -= l.joins // it is part of l.gradients now
		w.peak = max(w.peak, w.live+l.recompute+l.gradients+l.weights)
		w.live += l.waits
		if !w.Accumulates || w.WorkingWeights { // else it has been added to what there is
			w.live += l.weights
		}
	}
}

// activation returns the bytes of [Images, channels, side, side] in the compute dtype.
func (w *memoryWalk) activation(channels, side int64) int64 {
	return w.ElementBytes * int64(w.Images) * channels * side * side
}

// add adds a layer whose outputs gradient checkpointing keeps.
func (w *memoryWalk) add(l layerMemory) { w.layers = append(w.layers, l) }

// checkpoint adds a layer of which gradient checkpointing keeps only the result.
func (w *memoryWalk) checkpoint(l layerMemory, result int64) {
	if w.Checkpointing {
		l.recompute, l.outputs = l.outputs, result
	}
	w.add(l)
}

// block adds a block's layers and returns the bytes of its result.
func (w *memoryWalk) block(bl block, side int64) (out int64) {
	if bl.conv != nil {
		out = w.conv(bl.conv, side)
	}
	if bl.res != nil {
		out = w.res(bl.res, bl.kept, side)
	}
	if bl.attention != nil {
		out = w.attention(bl.attention, side)
	}
	if bl.up != nil {
		out = w.up(bl.up, side)
	}
	if bl.res2 != nil {
		out = w.res(bl.res2, 0, side)
	}
	return out
}

func (w *memoryWalk) conv(c *conv, side int64) int64 {
	in, out := w.activation(c.weight.Shape[1], side), w.activation(c.weight.Shape[0], side/c.stride[0])
	w.add(layerMemory{outputs: out, gradients: in + out, weights: w.weights(c.weight, c.bias)})
	return out
}

// res adds a residual block, in the order of its operators: norm, convolution, norm,
// convolution, skip convolution, sum. skip is how many input channels come from the encoder:
// the first norm joins them with the others.
func (w *memoryWalk) res(r *resBlock, skip, side int64) int64 {
	in, out := w.activation(r.inConv.weight.Shape[1], side), w.activation(r.outConv.weight.Shape[0], side)
	l := layerMemory{outputs: in + 4*out, waits: w.activation(skip, side)}
	l.weights = w.weights(r.inNorm.weight, r.inNorm.bias, r.inConv.weight, r.inConv.bias, r.outNorm.weight, r.outNorm.bias, r.outConv.weight, r.outConv.bias)
	if w.Checkpointing {
		l.weights += w.weights(r.emb.weight, r.emb.bias)
	}
	if skip > 0 {
		l.outputs += in
	}
	// The result's gradient lasts until the first norm's has been added to it.
	l.gradients = max(3*out, 2*out+in, out+2*in)
	if r.skip != nil { // and here until the skip convolution's has been made of it
		l.outputs += out
		l.weights += w.weights(r.skip.weight, r.skip.bias)
		l.gradients = max(2*out+in, out+2*in, 3*in)
	}
	w.checkpoint(l, out)
	return out
}

// attention adds an attention block: norm; queries, keys and values; attention with its
// log-sum-exp; projection; sum.
func (w *memoryWalk) attention(a *attention, side int64) int64 {
	c := w.activation(a.proj.in, side)
	lse := 4 * int64(w.Images) * a.heads * side * side
	// The backward pass concatenates three gradients into that of queries, keys and values.
	w.checkpoint(layerMemory{outputs: 7*c + lse, gradients: 7 * c, weights: w.weights(a.norm.weight, a.norm.bias, a.qkv.weight, a.qkv.bias, a.proj.weight, a.proj.bias)}, c)
	return c
}

// up adds an up-sampling: the enlarged image, and its convolution.
func (w *memoryWalk) up(u *upsample, side int64) int64 {
	out := w.activation(u.conv.weight.Shape[0], 2*side)
	w.add(layerMemory{outputs: 2 * out, gradients: 2 * out, weights: w.weights(u.conv.weight, u.conv.bias)})
	return out
}

// output adds the last norm and convolution, in float32, and the loss.
func (w *memoryWalk) output(m *UNet, side int64) {
	pixels := int64(w.Images) * side * side
	in, out := 4*m.outConv.weight.Shape[1]*pixels, 4*m.outConv.weight.Shape[0]*pixels
	l := layerMemory{outputs: in + out, gradients: 2*in + out, weights: w.weights(m.outNorm.weight, m.outNorm.bias, m.outConv.weight, m.outConv.bias)}
	if w.ElementBytes < 4 {
		l.outputs += in // what is cast to float32
	}
	w.add(l)
}

// input adds what comes before the first convolution, and what belongs to no block: images,
// noise and x_t, and the embedding with its projections, whose gradients come last.
func (w *memoryWalk) input(m *UNet) {
	pixels := int64(w.Images) * int64(w.ImageSize) * int64(w.ImageSize)
	l := layerMemory{outputs: pixels * int64(m.config.InChannels) * (3*4 + w.ElementBytes), weights: m.embeddingBytes()}
	if !w.Checkpointing { // the projections of all blocks are one
		projections := m.projectionBytes()
		l.outputs += projections
		l.weights += projections
	}
	if w.castsAtOnce() { // gradients of the casts, until all are there
		l.weights += 4 * m.autocastValues()
	}
	w.layers = append([]layerMemory{l}, w.layers...)
}

// weights returns the bytes of gradients of these parameters.
func (w *memoryWalk) weights(params ...*Parameter) (bytes int64) {
	for _, p := range params {
		size := int64(4)
		if p.autocast && !p.deferred && (w.WorkingWeights || w.castsAtOnce()) {
			size = 2
		}
		bytes += size * p.numel()
	}
	return bytes
}

// embeddingBytes returns the bytes of the weights that make the embedding.
func (m *UNet) embeddingBytes() (bytes int64) {
	for _, l := range []*linear{m.timeEmbed.first, m.timeEmbed.second} {
		bytes += 4 * (l.weight.numel() + l.bias.numel())
	}
	if m.labelEmb != nil {
		bytes += 4 * m.labelEmb.numel()
	}
	return bytes
}

// projectionBytes returns the bytes of the weights by which residual blocks take their
// part of the embedding.
func (m *UNet) projectionBytes() (bytes int64) {
	m.each(1, func(bl block, _ int64) {
		for _, r := range []*resBlock{bl.res, bl.res2} {
			if r != nil {
				bytes += 4 * (r.emb.weight.numel() + r.emb.bias.numel())
			}
		}
	})
	return bytes
}

// numel returns how many values p has, planned or not.
func (p *Parameter) numel() int64 {
	n := int64(1)
	for _, s := range p.Shape {
		n *= s
	}
	return n
}
