package diffusion

import (
	"math"
	"slices"

	"github.com/wangkuiyi/gotorch"
	"gonum.org/v1/gonum/stat"
)

// BPDSum accumulates the bounds of images over batches, on the host. The zero
// value is empty.
type BPDSum struct {
	Total, Prior, Decoder []float64 // per image, bits/dim: the bound, L_T and L_0
	// Sums over the images, [T], in the order of [BPD]: t = T-1 first.
	VB         []float64 // bits/dim
	XStartMSE  []float64
	EpsilonMSE []float64
}

// Add adds the images of a batch.
func (s *BPDSum) Add(b BPD) {
	s.Total = append(s.Total, b.Total.Float64s()...)
	s.Prior = append(s.Prior, b.Prior.Float64s()...)
	s.Decoder = append(s.Decoder, b.VB.Select(1, b.VB.Size(1)-1).Float64s()...)
	s.VB = addColumns(s.VB, b.VB)
	s.XStartMSE = addColumns(s.XStartMSE, b.XStartMSE)
	s.EpsilonMSE = addColumns(s.EpsilonMSE, b.EpsilonMSE)
}

// Join appends the images of another sum.
func (s *BPDSum) Join(o BPDSum) {
	s.Total = append(s.Total, o.Total...)
	s.Prior = append(s.Prior, o.Prior...)
	s.Decoder = append(s.Decoder, o.Decoder...)
	s.VB = addTo(s.VB, o.VB)
	s.XStartMSE = addTo(s.XStartMSE, o.XStartMSE)
	s.EpsilonMSE = addTo(s.EpsilonMSE, o.EpsilonMSE)
}

// Len returns the number of images.
func (s *BPDSum) Len() int { return len(s.Total) }

// Mean divides one of the sums, [T], by the number of images.
func (s *BPDSum) Mean(sum []float64) []float64 {
	mean := make([]float64, len(sum))
	for t, v := range sum {
		mean[t] = v / float64(s.Len())
	}
	return mean
}

// addColumns adds the column sums of x, [N, T], to sum, [T] or nil. It sums in
// float64: the terms range over six orders of magnitude.
func addColumns(sum []float64, x gotorch.Tensor) []float64 {
	return addTo(sum, x.CastTo(gotorch.Double).SumDims(false, 0).Float64s())
}

// addTo returns sum + more, element-wise; sum may be nil.
func addTo(sum, more []float64) []float64 {
	total := slices.Clone(more)
	for t, v := range sum {
		total[t] += v
	}
	return total
}

// MeanAndError returns the mean of independent values, at least one, and its
// standard error, which is 0 for a single one.
func MeanAndError(values []float64) (mean, stderr float64) {
	if len(values) == 1 {
		return values[0], 0
	}
	mean, deviation := stat.MeanStdDev(values, nil)
	return mean, deviation / math.Sqrt(float64(len(values)))
}
