package evaluate

import (
	"context"
	"fmt"
	"math"

	"github.com/wangkuiyi/gotorch"
)

// Statistics are the mean and the covariance of features, which FID and sFID compare.
type Statistics struct {
	Mu    []float64 // [D]
	Sigma []float64 // [D, D], divided by N - 1
}

// moments accumulates the [Statistics] of features in float64. It must be used on the
// tensor thread.
type moments struct {
	n     int64
	sum   gotorch.Tensor // [D]
	outer gotorch.Tensor // [D, D], sum of x x^T
}

// newMoments returns zero sums of d features on a device. They belong to the caller's
// scope, or must be freed.
func newMoments(d int64, device gotorch.Device) *moments {
	return &moments{sum: gotorch.ZerosOn(device, gotorch.Double, d), outer: gotorch.ZerosOn(device, gotorch.Double, d, d)}
}

// Add adds features [N, D].
func (m *moments) Add(features gotorch.Tensor) {
	gotorch.Scope(func() {
		x := features.CastTo(gotorch.Double)
		m.sum.AddI(x.SumDims(false, 0), 1)
		m.outer.AddI(gotorch.MM(x.Transpose(0, 1), x), 1)
	})
	m.n += features.Size(0)
}

// Statistics returns the mean and the covariance of the added features. It needs at least
// two images.
func (m *moments) Statistics() (s Statistics, err error) {
	if m.n < 2 {
		return s, fmt.Errorf("%d images have no covariance: it takes 2, and thousands for a sound one", m.n)
	}
	gotorch.Scope(func() {
		mu, n := m.sum.MulScalar(1/float64(m.n)), float64(m.n)
		sigma := m.outer.Sub(gotorch.MM(mu.View(-1, 1), mu.View(1, -1)).MulScalar(n), 1).MulScalar(1 / (n - 1))
		s = Statistics{Mu: mu.To(gotorch.Device{}).Float64s(), Sigma: sigma.To(gotorch.Device{}).Float64s()}
	})
	return s, nil
}

// Free frees the sums.
func (m *moments) Free() {
	m.sum.Free()
	m.outer.Free()
}

// FrechetDistance returns |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), the Fréchet
// distance of two Gaussians (Heusel et al. 2017, equation 6): FID for pooled features,
// sFID for spatial ones. It must be called on the tensor thread and computes in float64. Once ctx has ended it
// returns its error after the decomposition of a matrix that is under way, which takes seconds for 2048 features.
func FrechetDistance(ctx context.Context, a, b Statistics) (float64, error) {
	d := len(a.Mu)
	if len(b.Mu) != d || len(a.Sigma) != d*d || len(b.Sigma) != d*d {
		return 0, fmt.Errorf("statistics of %d and of %d features (covariances of %d and %d values) cannot be compared", d, len(b.Mu), len(a.Sigma), len(b.Sigma))
	}
	var distance float64
	for i := range d {
		diff := a.Mu[i] - b.Mu[i]
		distance += diff*diff + a.Sigma[i*d+i] + b.Sigma[i*d+i]
	}
	trace, err := traceOfRoot(ctx, a.Sigma, b.Sigma, int64(d))
	if err != nil {
		return 0, err
	}
	if distance -= 2 * trace; math.IsNaN(distance) || math.IsInf(distance, 0) {
		return 0, fmt.Errorf("the distance is %g: the features are not finite", distance)
	}
	return max(distance, 0), nil // rounding may make it negative
}

// traceOfRoot returns tr((A B)^(1/2)) of covariances [d, d]. A B has the eigenvalues of
// R B R with R = A^(1/2), which is symmetric; only rounding makes any of them negative.
func traceOfRoot(ctx context.Context, a, b []float64, d int64) (trace float64, err error) {
	gotorch.Scope(func() {
		if err = ctx.Err(); err != nil {
			return
		}
		values, vectors := gotorch.Eigh(gotorch.FromFloat64s(a, d, d))
		root := gotorch.MM(vectors.Mul(values.ClampMin(0).Sqrt()), vectors.Transpose(0, 1))
		if err = ctx.Err(); err != nil {
			return
		}
		values, _ = gotorch.Eigh(gotorch.MM(gotorch.MM(root, gotorch.FromFloat64s(b, d, d)), root))
		trace = values.ClampMin(0).Sqrt().Sum().Float64()
	})
	return trace, err
}
