package model

// EvaluationBytes returns the peak memory in bytes of an evaluation of n images without gradients, as in
// sampling, in addition to the weights ([UNet.FrozenBytes]). elementBytes are those of an activation in
// the compute dtype: 4, or 2 in bfloat16 and float16. It simulates forward.go, where a block's tensors live
// until the block is complete, and a skip connection until the decoder has used it.
func (m *UNet) EvaluationBytes(n, imageSize int, elementBytes int64) int64 {
	w := memoryWalk{StepMemory: StepMemory{Images: n, ImageSize: imageSize, ElementBytes: elementBytes}}
	side := int64(imageSize)
	w.live = int64(n) * int64(m.config.InChannels) * side * side * (4 + elementBytes) // x_t and its cast
	var skips []int64
	for _, bl := range m.inputBlocks {
		skips = append(skips, w.evaluate(bl, side))
		side = bl.size(side)
	}
	h := w.evaluate(m.middleBlock, side)
	for i, bl := range m.outputBlocks {
		used := h + skips[len(skips)-1-i]
		h = w.evaluate(bl, side)
		w.live -= used
		side = bl.size(side)
	}
	w.output(m, side)
	return max(w.peak, w.live+w.layers[len(w.layers)-1].outputs)
}

// evaluate simulates a block, whose result stays live, and returns the bytes of that result.
func (w *memoryWalk) evaluate(bl block, side int64) int64 {
	first := len(w.layers)
	result := w.block(bl, side)
	peak := w.live
	for _, l := range w.layers[first:] {
		peak += l.outputs
	}
	w.peak = max(w.peak, peak)
	w.live += result
	return result
}

// FrozenBytes returns the bytes of the weights after [UNet.Freeze] in a dtype of elementBytes: the float32
// weights, and in 16 bits their copies.
func (m *encoder) FrozenBytes(elementBytes int64) int64 {
	bytes := 4 * m.NumParameters()
	if elementBytes < 4 {
		bytes += elementBytes * m.autocastValues()
	}
	return bytes
}
