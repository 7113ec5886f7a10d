package train

import "iddpm/train/metrics"

// The columns of the gradient noise scale (McCandlish et al. 2018, arXiv 1812.06162,
// appendix A.1). Both estimates are unbiased, and averaged over the steps of a row. The
// scale is their quotient, and is omitted unless the second is above 0.
const (
	GradNoiseScale    = "grad_noise_scale"    // tr(Sigma) / |G|^2, in images
	GradNoiseVariance = "grad_noise_variance" // tr(Sigma), of one image's gradient
	GradNoiseSquared  = "grad_noise_squared"  // |G|^2, of the true gradient; the estimate may be negative
)

// noiseNorms are the norms of a step's microbatch gradients, empty unless the noise scale
// is measured.
type noiseNorms struct {
	norms []float64
	sizes []int // of the microbatches
}

// estimates returns tr(Sigma) and |G|^2 from the norms of the batch's gradient and of the
// microbatches' terms of it. For gradients of b samples E|G_b|^2 = |G|^2 + tr(Sigma)/b,
// which two values of b determine; microbatches of several sizes enter by the mean of 1/b.
func (g noiseNorms) estimates(batchNorm float64) (variance, squared float64) {
	total := 0
	for _, n := range g.sizes {
		total += n
	}
	small, inverse := 0.0, 0.0
	for i, norm := range g.norms {
		whole := norm * float64(total) / float64(g.sizes[i]) // the term is size/total of the microbatch's own gradient
		small += whole * whole / float64(len(g.norms))
		inverse += 1 / float64(g.sizes[i]) / float64(len(g.norms))
	}
	big := batchNorm * batchNorm
	variance = (small - big) / (inverse - 1/float64(total))
	return variance, big - variance/float64(total)
}

// noiseValues returns the columns of a row; none if nothing was measured.
func (m averages) noiseValues() []metrics.Value {
	variance, squared := m[GradNoiseVariance], m[GradNoiseSquared]
	if variance.count == 0 {
		return nil
	}
	var row []metrics.Value
	if squared.mean() > 0 {
		row = append(row, metrics.Value{Name: GradNoiseScale, Value: variance.mean() / squared.mean()})
	}
	return append(row,
		metrics.Value{Name: GradNoiseVariance, Value: variance.mean()},
		metrics.Value{Name: GradNoiseSquared, Value: squared.mean()})
}
