package engine

// NoiseNorms are the norms of a step's microbatch gradients, empty unless the noise scale
// is measured.
type NoiseNorms struct {
	Norms []float64
	Sizes []int // of the microbatches
}

// Estimates returns tr(Sigma) and |G|^2 from the norms of the batch's gradient and of the
// microbatches' terms of it. For gradients of b samples E|G_b|^2 = |G|^2 + tr(Sigma)/b,
// which two values of b determine; microbatches of several sizes enter by the mean of 1/b.
func (g NoiseNorms) Estimates(batchNorm float64) (variance, squared float64) {
	total := 0
	for _, n := range g.Sizes {
		total += n
	}
	small, inverse := 0.0, 0.0
	for i, norm := range g.Norms {
		whole := norm * float64(total) / float64(g.Sizes[i]) // the term is size/total of the microbatch's own gradient
		small += whole * whole / float64(len(g.Norms))
		inverse += 1 / float64(g.Sizes[i]) / float64(len(g.Norms))
	}
	big := batchNorm * batchNorm
	variance = (small - big) / (inverse - 1/float64(total))
	return variance, big - variance/float64(total)
}
