package evaluate

import (
	"context"

	"github.com/wangkuiyi/gotorch"
)

// Comparison compares sets of samples with one reference, by FID or by KID. What it keeps of the
// reference is in host memory, and does not need the network. It must be used on the tensor thread.
type Comparison struct {
	pool     Statistics     // of FID
	features gotorch.Tensor // of KID: [N, 2048]
}

// CompareByFID returns the comparison with a reference by [FrechetDistance].
func CompareByFID(reference *Set) (*Comparison, error) {
	pool, err := reference.Pool()
	if err != nil {
		return nil, err
	}
	return &Comparison{pool: pool}, nil
}

// CompareByKID returns the comparison with a reference by [KernelInceptionDistance]. It must be freed.
func CompareByKID(reference *Set) *Comparison {
	c := new(Comparison)
	gotorch.Scope(func() { c.features = reference.Features().To(gotorch.Device{}).Clone().Unscoped() })
	return c
}

// Distance returns the FID or KID of samples, and KID's standard error, which is 0 for FID.
func (c *Comparison) Distance(ctx context.Context, samples *Set) (distance, stdErr float64, err error) {
	if c.features.Defined() {
		gotorch.Scope(func() {
			var d KID
			d, err = KernelInceptionDistance(ctx, samples.Features(), c.features.To(samples.Features().Device()))
			distance, stdErr = d.Mean, d.StdErr
		})
		return distance, stdErr, err
	}
	own, err := samples.Pool()
	if err == nil {
		distance, err = FrechetDistance(ctx, own, c.pool)
	}
	return distance, 0, err
}

// Free frees the features.
func (c *Comparison) Free() { c.features.Free() }
