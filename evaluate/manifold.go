package evaluate

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// neighbours is k: a ball's radius is the distance to its centre's k-th nearest
// neighbour. The paper and guided-diffusion use 3.
const neighbours = 3

// block is the number of rows and columns of distances that are computed at a time.
const block = 4096

// PrecisionRecall returns the fraction of samples in the manifold of the reference
// images, and the fraction of reference images in the manifold of the samples
// (Kynkäänniemi et al. 2019), by pooled features [N, D] on one device. A set's manifold is
// a union of balls, one around each image, with the distance to its third nearest
// neighbour as radius.
func PrecisionRecall(reference, samples gotorch.Tensor) (precision, recall float64, err error) {
	if n := min(reference.Size(0), samples.Size(0)); n <= neighbours {
		return 0, 0, fmt.Errorf("%d images have no %d neighbours each", n, neighbours)
	}
	gotorch.Scope(func() {
		precision = within(samples, reference, radii(reference))
		recall = within(reference, samples, radii(samples))
	})
	return precision, recall, nil
}

// radii returns the squared distance [N] of each row of x [N, D] to its third nearest
// other row.
func radii(x gotorch.Tensor) (all gotorch.Tensor) {
	var parts []gotorch.Tensor
	eachBlock(x, func(rows gotorch.Tensor) {
		var nearest gotorch.Tensor // [rows, 4]: itself is one of them
		eachBlock(x, func(columns gotorch.Tensor) {
			gotorch.Scope(func() {
				d := distances(rows, columns)
				if nearest.Defined() {
					d = gotorch.Cat([]gotorch.Tensor{nearest, d}, 1)
				}
				d, _ = gotorch.TopK(d, neighbours+1, 1, false, true)
				nearest = d.MoveOut()
			})
		})
		parts = append(parts, nearest.Select(1, neighbours))
	})
	return gotorch.Cat(parts, 0)
}

// within returns the fraction of rows of x [N, D] that are in one of the balls around the
// rows of centres [M, D] with squared radii [M].
func within(x, centres, radii gotorch.Tensor) float64 {
	inside := 0.0
	eachBlock(x, func(rows gotorch.Tensor) {
		gotorch.Scope(func() {
			outside, first := gotorch.ZerosOn(x.Device(), gotorch.Long, rows.Size(0)), int64(0) // of how many balls
			eachBlock(centres, func(columns gotorch.Tensor) {
				gotorch.Scope(func() {
					ball := radii.Narrow(0, first, columns.Size(0))
					outside.AddI(ball.Less(distances(rows, columns)).SumDims(false, 1), 1)
				})
				first += columns.Size(0)
			})
			inside += outside.LessScalar(float64(centres.Size(0))).SumDims(false, 0).Float64()
		})
	})
	return inside / float64(x.Size(0))
}

// distances returns the squared distances [N, M] of rows a [N, D] and b [M, D].
func distances(a, b gotorch.Tensor) gotorch.Tensor {
	square := func(x gotorch.Tensor) gotorch.Tensor { return x.Mul(x).SumDims(false, 1) }
	d := gotorch.MM(a, b.Transpose(0, 1)).MulScalar(-2)
	return d.Add(square(a).View(-1, 1), 1).Add(square(b).View(1, -1), 1).ClampMin(0)
}

// eachBlock calls f with successive blocks of rows of x.
func eachBlock(x gotorch.Tensor, f func(rows gotorch.Tensor)) {
	for first := int64(0); first < x.Size(0); first += block {
		f(x.Narrow(0, first, min(block, x.Size(0)-first)))
	}
}
