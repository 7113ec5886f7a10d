package model

// StepMemory describes a training step on a GPU for [UNet.StepBytes] and [Classifier.StepBytes].
// With all booleans false it is one microbatch without gradient checkpointing.
type StepMemory struct {
	Images       int   // per microbatch
	ImageSize    int   // width and height in pixels
	ElementBytes int64 // of activations in the compute dtype: 4, or 2 in bfloat16 and float16

	// WorkingWeights: 16-bit working weights receive the gradients. Without them each 16-bit
	// evaluation casts the master weights.
	WorkingWeights bool

	// Accumulates: gradients of several microbatches are summed, in float32.
	Accumulates bool

	Checkpointing bool // gradient checkpointing
}

// StepBytes returns the peak memory of a training step in bytes, in addition to weights,
// working weights, optimizer state and EMA weights: activations, their gradients, and the
// weights' gradients. It simulates forward.go and autograd on a GPU, where every operator's
// output lives until the backward pass ends, and a gradient until its last use.
func (m *UNet) StepBytes(s StepMemory) int64 {
	w := memoryWalk{StepMemory: s, live: m.castBytes(s)}
	var skips []int64 // per encoder output, its gradient from the decoder
	m.each(s.ImageSize, func(bl block, side int64) {
		if bl.conv == m.outConv {
			w.output(m, side)
			return
		}
		out := w.block(bl, side)
		if len(skips) < len(m.inputBlocks) {
			skips = append(skips, out)
			w.layers[len(w.layers)-1].addedGrad = out
		}
	})
	w.input(&m.encoder, append(m.encoderBlocks(), m.outputBlocks...), m.labelEmb)
	w.backward()
	return max(w.peak, m.sumBytes(s))
}

// WorkingWeightBytes returns the bytes of 16-bit working weights.
func (m *encoder) WorkingWeightBytes() int64 { return 2 * m.autocastValues() }

// autocastValues returns the number of values that a GPU uses in the compute dtype.
func (m *encoder) autocastValues() (n int64) {
	for _, p := range m.params {
		if p.autocast && !p.deferred {
			n += p.numel()
		}
	}
	return n
}

// castsAtOnce reports whether each evaluation first casts all weights.
func (s StepMemory) castsAtOnce() bool {
	return s.ElementBytes < 4 && !s.WorkingWeights && !s.Checkpointing
}

// castBytes returns the bytes that are live during the whole evaluation: casts of the
// weights, and the accumulated gradients of earlier microbatches.
func (m *encoder) castBytes(s StepMemory) (bytes int64) {
	if s.castsAtOnce() {
		bytes += 2 * m.autocastValues()
	}
	if s.Accumulates {
		bytes += 4 * m.NumParameters()
	}
	return bytes
}

// sumBytes returns the bytes live while a microbatch's 16-bit gradients are cast and
// accumulated.
func (m *encoder) sumBytes(s StepMemory) int64 {
	if !s.Accumulates || !s.WorkingWeights {
		return 0
	}
	return 8*m.NumParameters() + 2*m.autocastValues()
}

// memoryWalk simulates the memory of a step, layer by layer.
type memoryWalk struct {
	StepMemory
	frozen     bool // the weights get no gradients
	layers     []layerMemory
	live, peak int64
}

// layerMemory is the memory of a layer or block in a step, in bytes.
type layerMemory struct {
	outputs   int64 // outputs of its operators, which live until the backward pass ends
	recompute int64 // outputs that gradient checkpointing frees and recomputes
	gradients int64 // peak of the activations' gradients in its backward pass
	weights   int64 // gradients of its weights
	skipGrad  int64 // the skip connection's gradient, which lives until the encoder's backward pass
	addedGrad int64 // the skip connection's gradient that is added to its output's gradient
}

// backward simulates the backward pass.
func (w *memoryWalk) backward() {
	for _, l := range w.layers {
		w.live += l.outputs
	}
	w.peak = w.live
	for i := len(w.layers) - 1; i >= 0; i-- {
		l := w.layers[i]
		w.live -= l.addedGrad // now counted in l.gradients
		w.peak = max(w.peak, w.live+l.recompute+l.gradients+l.weights)
		w.live += l.skipGrad
		if !w.Accumulates || w.WorkingWeights { // else it has been accumulated in place
			w.live += l.weights
		}
	}
}

// activation returns the bytes of [Images, channels, side, side] in the compute dtype.
func (w *memoryWalk) activation(channels, side int64) int64 {
	return w.ElementBytes * int64(w.Images) * channels * side * side
}

// add appends a layer whose outputs gradient checkpointing keeps.
func (w *memoryWalk) add(l layerMemory) { w.layers = append(w.layers, l) }

// checkpoint appends a layer of which gradient checkpointing keeps only the result.
func (w *memoryWalk) checkpoint(l layerMemory, result int64) {
	if w.Checkpointing {
		l.recompute, l.outputs = l.outputs, result
	}
	w.add(l)
}

// block appends a block's layers and returns the bytes of its result.
func (w *memoryWalk) block(bl block, side int64) (out int64) {
	if bl.conv != nil {
		out = w.conv(bl.conv, side)
	}
	if bl.res != nil {
		out = w.res(bl.res, bl.skipChannels, side)
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
	in, out := w.activation(c.weight.Shape[1], side), w.activation(c.weight.Shape[0], c.size(side))
	w.add(layerMemory{outputs: out, gradients: in + out, weights: w.weights(c.weight, c.bias)})
	return out
}

// res appends a residual block, whose operators are norm, convolution, norm, convolution,
// skip convolution, sum. skip is the number of input channels from the encoder, which the
// first norm concatenates with the others. A block that resamples also has the resampled
// input, and its norm.
func (w *memoryWalk) res(r *resBlock, skip, side int64) int64 {
	in, out := w.activation(r.inConv.weight.Shape[1], side), w.activation(r.outConv.weight.Shape[0], r.resample.size(side))
	l := layerMemory{outputs: in + 4*out, skipGrad: w.activation(skip, side)}
	l.weights = w.weights(r.inNorm.weight, r.inNorm.bias, r.inConv.weight, r.inConv.bias, r.outNorm.weight, r.outNorm.bias, r.outConv.weight, r.outConv.bias)
	if w.Checkpointing {
		l.weights += w.weights(r.emb.weight, r.emb.bias)
	}
	if skip > 0 {
		l.outputs += in
	}
	// The result's gradient lives until the first norm's gradient is added to it.
	l.gradients = max(3*out, 2*out+in, out+2*in)
	if r.skip != nil { // here until the skip convolution's backward pass has used it
		l.outputs += out
		l.weights += w.weights(r.skip.weight, r.skip.bias)
		l.gradients = max(2*out+in, out+2*in, 3*in)
	}
	if r.resample != keepSize { // as many channels as before
		l.outputs += 2 * out
		l.gradients = max(3*out, 2*out+in, out+2*in, 3*in)
	}
	w.checkpoint(l, out)
	return out
}

// attention appends an attention block: norm; queries, keys and values; attention with
// its log-sum-exp; projection; sum.
func (w *memoryWalk) attention(a *attention, side int64) int64 {
	c := w.activation(a.proj.in, side)
	lse := 4 * int64(w.Images) * a.heads * side * side
	// The backward pass concatenates three gradients into that of queries, keys and values.
	w.checkpoint(layerMemory{outputs: 7*c + lse, gradients: 7 * c, weights: w.weights(a.norm.weight, a.norm.bias, a.qkv.weight, a.qkv.bias, a.proj.weight, a.proj.bias)}, c)
	return c
}

// up appends an upsampling and its convolution.
func (w *memoryWalk) up(c *conv, side int64) int64 {
	out := w.activation(c.weight.Shape[0], c.size(side))
	w.add(layerMemory{outputs: 2 * out, gradients: 2 * out, weights: w.weights(c.weight, c.bias)})
	return out
}

// output appends the last norm and convolution, in float32, and the loss.
func (w *memoryWalk) output(m *UNet, side int64) {
	pixels := int64(w.Images) * side * side
	in, out := 4*m.outConv.weight.Shape[1]*pixels, 4*m.outConv.weight.Shape[0]*pixels
	l := layerMemory{outputs: in + out, gradients: 2*in + out, weights: w.weights(m.outNorm.weight, m.outNorm.bias, m.outConv.weight, m.outConv.bias)}
	if w.ElementBytes < 4 {
		l.outputs += in // the cast to float32
	}
	w.add(l)
}

// input prepends what belongs to no block: images, noise and x_t, and the embedding with
// its projections for all blocks, whose gradients are computed last. labels are the weights of
// the label embedding; nil: none.
func (w *memoryWalk) input(m *encoder, blocks []block, labels *Parameter) {
	pixels := int64(w.Images) * int64(w.ImageSize) * int64(w.ImageSize)
	l := layerMemory{outputs: pixels * int64(m.config.InChannels) * (3*4 + w.ElementBytes), weights: w.weights(m.timeEmbed.first.weight, m.timeEmbed.first.bias, m.timeEmbed.second.weight, m.timeEmbed.second.bias)}
	if labels != nil {
		l.weights += w.weights(labels)
	}
	if !w.Checkpointing { // all blocks' projections are one operator
		l.outputs += projectionBytes(blocks)
		l.weights += projectionBytes(blocks)
	}
	if w.castsAtOnce() { // gradients of the casts, until all are complete
		l.weights += 4 * m.autocastValues()
	}
	w.layers = append([]layerMemory{l}, w.layers...)
}

// pooled is the memory of a classifier's last norm, in float32, of its input in the compute dtype.
func (w *memoryWalk) pooled(n *norm, channels, side int64) layerMemory {
	in := 4 * int64(w.Images) * channels * side * side
	l := layerMemory{outputs: in, gradients: 2 * in, weights: w.weights(n.weight, n.bias)}
	if w.ElementBytes < 4 {
		l.outputs += in // the cast to float32
	}
	return l
}

// weights returns the bytes of the gradients of params.
func (w *memoryWalk) weights(params ...*Parameter) (bytes int64) {
	if w.frozen {
		return 0
	}
	for _, p := range params {
		size := int64(4)
		if p.autocast && !p.deferred && (w.WorkingWeights || w.castsAtOnce()) {
			size = 2
		}
		bytes += size * p.numel()
	}
	return bytes
}

// projectionBytes returns the bytes of the residual blocks' embedding projections.
func projectionBytes(blocks []block) (bytes int64) {
	for _, bl := range blocks {
		for _, r := range []*resBlock{bl.res, bl.res2} {
			if r != nil {
				bytes += 4 * (r.emb.weight.numel() + r.emb.bias.numel())
			}
		}
	}
	return bytes
}
