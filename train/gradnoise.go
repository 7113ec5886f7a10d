package train

import "iddpm/train/metrics"

// The columns of the gradient noise scale (McCandlish et al. 2018, arXiv
// 1812.06162, appendix A.1). The two estimates are unbiased, and means over the
// steps of a line; the scale is their quotient, and is left out where the second
// is not above 0.
const (
	GradNoiseScale    = "grad_noise_scale"    // tr(Sigma) / |G|^2, in images
	GradNoiseVariance = "grad_noise_variance" // tr(Sigma), of one image's gradient
	GradNoiseSquared  = "grad_noise_squared"  // |G|^2, of the true gradient; may come out below 0
)

// noiseNorms are what a step leaves of its microbatches' gradients: no norms
// where the noise is not measured.
type noiseNorms struct {
	norms []float64
	sizes []int // of the microbatches
}

// estimates returns tr(Sigma) and |G|^2 from the norm of the whole batch's
// gradient and the microbatches' shares of it. For gradients of b samples
// E|G_b|^2 = |G|^2 + tr(Sigma)/b, which two sizes of b solve; microbatches of
// several sizes count by the mean of 1/b.
func (g noiseNorms) estimates(batchNorm float64) (variance, squared float64) {
	total := 0
	for _, n := range g.sizes {
		total += n
	}
	small, inverse := 0.0, 0.0
	for i, norm := range g.norms {
		whole := norm * float64(total) / float64(g.sizes[i]) // the share is size/total of the microbatch's own gradient
		small += whole * whole / float64(len(g.norms))
		inverse += 1 / float64(g.sizes[i]) / float64(len(g.norms))
	}
	big := batchNorm * batchNorm
	variance = (small - big) / (inverse - 1/float64(total))
	return variance, big - variance/float64(total)
}

// noiseValues are the columns of a line; none where nothing was measured.
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
