package model

// Products returns what [UNet.Products] does, for a classifier.
func (m *Classifier) Products(n, imageSize int) []Product {
	e := products{n: int64(n)}
	e.timeEmbed(m.timeEmbed)
	first, side := len(e.list), int64(imageSize)
	for _, bl := range m.encoderBlocks() {
		e.block(bl, side)
		side = bl.size(side)
	}
	e.list[first].NoGradient = true
	m.pool.products(&e, side)
	return e.list
}

// MACs returns the multiply-accumulate operations of a forward pass of one image.
func (m *Classifier) MACs(imageSize int) int64 {
	return totalMACs(m.Products(1, imageSize))
}

// GradientMACs returns the multiply-accumulate operations of the gradient of log p(y | x_t) by one
// image, forward and backward, as in classifier guidance: without gradients of the weights.
func (m *Classifier) GradientMACs(imageSize int) (total int64) {
	for _, p := range m.Products(1, imageSize) {
		switch {
		case p.Embedding:
			total += p.MACs
		case p.Weight == nil: // both factors depend on the image
			total += 3 * p.MACs
		default:
			total += 2 * p.MACs
		}
	}
	return total
}

// RecomputedMACs returns what [UNet.RecomputedMACs] does, for a classifier.
func (m *Classifier) RecomputedMACs(imageSize int) int64 {
	return recomputedMACs(m.encoderBlocks(), int64(imageSize))
}

// StepBytes returns what [UNet.StepBytes] does, for a classifier.
func (m *Classifier) StepBytes(s StepMemory) int64 {
	w := memoryWalk{StepMemory: s, live: m.castBytes(s)}
	m.simulate(&w)
	return max(w.peak, m.sumBytes(s))
}

// GradientBytes returns the peak memory in bytes of the gradient of log p(y | x_t) by n images, as in
// classifier guidance, in addition to the weights ([Classifier.FrozenBytes]). elementBytes are those of
// an activation in the compute dtype.
func (m *Classifier) GradientBytes(n, imageSize int, elementBytes int64) int64 {
	w := memoryWalk{StepMemory: StepMemory{Images: n, ImageSize: imageSize, ElementBytes: elementBytes, WorkingWeights: true}, frozen: true}
	m.simulate(&w)
	return w.peak
}

// simulate adds the layers to w, and runs the backward pass.
func (m *Classifier) simulate(w *memoryWalk) {
	_, poolsAll := m.pool.(*featurePool)
	side, results := int64(w.ImageSize), int64(0)
	for _, bl := range m.encoderBlocks() {
		out := w.block(bl, side)
		side, results = bl.size(side), results+out
		if poolsAll {
			w.layers[len(w.layers)-1].addedGrad = out
		}
	}
	w.add(m.pool.memory(w, side, results))
	w.input(&m.encoder, m.encoderBlocks(), nil)
	w.backward()
}
