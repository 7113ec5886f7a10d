package evaluate

import (
	"context"
	"fmt"
	"math"
	"math/bits"

	"github.com/wangkuiyi/gotorch"
	"gonum.org/v1/gonum/mathext/prng"
	"gonum.org/v1/gonum/stat"
)

// KID settings of Bińkowski et al. 2018, section 4, with torch-fidelity's seed, so that the same
// features give the same subsets and the same KID as there.
const (
	kidSubsets    = 100
	kidSubsetSize = 1000
	kidSeed       = 2020
)

// KID is a Kernel Inception Distance: the squared maximum mean discrepancy of two sets of pooled
// features under the kernel (x·y/D + 1)^3. It is unbiased, so it can be below 0.
type KID struct {
	Mean       float64 // over the subsets
	Std        float64 // of the subsets, as torch-fidelity prints it
	StdErr     float64 // Std / sqrt(Subsets); too small where the subsets overlap much
	Subsets    int
	SubsetSize int // images of each set in a subset: 1000, or all of the smaller set
}

// KernelInceptionDistance compares pooled features [N, D] and [M, D] on one device, on the tensor
// thread and in float64. Each set needs two images; papers use 1000 or more. Once ctx has ended it returns its error
// after the current subset.
func KernelInceptionDistance(ctx context.Context, samples, reference gotorch.Tensor) (KID, error) {
	size := min(samples.Size(0), reference.Size(0), kidSubsetSize)
	if size < 2 {
		return KID{}, fmt.Errorf("KID needs 2 images of each set, but there are %d and %d", samples.Size(0), reference.Size(0))
	}
	random := prng.NewMT19937()
	random.Seed(kidSeed)
	values := make([]float64, kidSubsets)
	for i := range values {
		if err := ctx.Err(); err != nil {
			return KID{}, err
		}
		gotorch.Scope(func() {
			x := rowsOf(samples, choose(random, samples.Size(0), size))
			y := rowsOf(reference, choose(random, reference.Size(0), size))
			values[i] = mmd2(x, y)
		})
	}
	k := KID{Mean: stat.Mean(values, nil), Std: stat.PopStdDev(values, nil), Subsets: kidSubsets, SubsetSize: int(size)}
	k.StdErr = k.Std / math.Sqrt(kidSubsets)
	if math.IsNaN(k.Mean) || math.IsInf(k.Mean, 0) {
		return KID{}, fmt.Errorf("KID is %g: the features are not finite", k.Mean)
	}
	return k, nil
}

func rowsOf(x gotorch.Tensor, rows []int64) gotorch.Tensor {
	return x.IndexSelect(0, gotorch.FromInt64s(rows).To(x.Device())).CastTo(gotorch.Double)
}

// mmd2 returns the unbiased estimate for x and y, float64 [m, D] each (Gretton et al. 2012, lemma 6):
// the mean of k over pairs within x and within y, without the diagonals, minus twice that of all
// pairs of x and y.
func mmd2(x, y gotorch.Tensor) float64 {
	m, d := float64(x.Size(0)), float64(x.Size(1))
	cube := func(dot gotorch.Tensor) gotorch.Tensor {
		k := dot.MulScalar(1 / d).AddScalar(1)
		return k.Mul(k).Mul(k)
	}
	all := func(a, b gotorch.Tensor) gotorch.Tensor { return cube(gotorch.MM(a, b.Transpose(0, 1))).Sum() }
	diagonal := func(a gotorch.Tensor) gotorch.Tensor { return cube(a.Mul(a).SumDims(false, 1)).Sum() }
	within := all(x, x).Add(all(y, y), 1).Add(diagonal(x), -1).Add(diagonal(y), -1)
	return within.Float64()/(m*(m-1)) - 2*all(x, y).Float64()/(m*m)
}

// choose returns the numbers that numpy's RandomState.choice(n, size, replace=False) returns: the
// start of a permutation of 0 to n-1, shuffled from the end.
func choose(random *prng.MT19937, n, size int64) []int64 {
	p := make([]int64, n)
	for i := range p {
		p[i] = int64(i)
	}
	for i := n - 1; i > 0; i-- {
		j := upTo(random, uint32(i))
		p[i], p[j] = p[j], p[i]
	}
	return p[:size]
}

// upTo returns a number from 0 to limit: it discards numbers above limit, masked to its bits, as numpy does.
func upTo(random *prng.MT19937, limit uint32) uint32 {
	mask := uint32(1)<<bits.Len32(limit) - 1
	for {
		if v := random.Uint32() & mask; v <= limit {
			return v
		}
	}
}
