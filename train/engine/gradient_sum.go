package engine

import "github.com/wangkuiyi/gotorch"

// bucketBytes is the size of an all-reduce bucket, as in PyTorch's DistributedDataParallel:
// large enough for full bandwidth, small enough to overlap with the backward pass.
const bucketBytes = 25 << 20

// gradientSum accumulates the gradients of a step's microbatches in float32, also those of
// bfloat16 working weights, and then all-reduces them. It adds all parameters in one call,
// where autograd adds one after the other, and in the same order, so that the sum is equal
// to the bit.
type gradientSum struct {
	core    *core
	params  []gotorch.Tensor
	sums    []gotorch.Tensor // per parameter, unscoped; undefined without a gradient
	reduced []bool           // per parameter, whether its sum is in a bucket

	bucket      []gotorch.Tensor // sums of the next all-reduce
	filledBytes int64
}

func (c *core) newGradientSum() *gradientSum {
	params := c.network.Tensors()
	return &gradientSum{core: c, params: params, sums: make([]gotorch.Tensor, len(params)), reduced: make([]bool, len(params))}
}

// accumulate adds the parameters' gradients to the sums, clears them, and returns the
// indices of the parameters that had one.
func (s *gradientSum) accumulate() (accumulated []int) {
	gotorch.Scope(func() {
		var sums, more []gotorch.Tensor // more is added to sums
		for i, g := range s.inFloat() {
			switch {
			case !g.Defined():
				continue
			case s.sums[i].Defined():
				sums, more = append(sums, s.sums[i]), append(more, g)
			default:
				s.sums[i] = g.Unscoped()
			}
			accumulated = append(accumulated, i)
		}
		gotorch.ForeachAddI(sums, more, 1)
		s.core.optimizer.ZeroGrad()
	})
	return accumulated
}

// inFloat returns each parameter's gradient in float32.
func (s *gradientSum) inFloat() []gotorch.Tensor {
	grads := make([]gotorch.Tensor, len(s.params))
	var narrow []gotorch.Tensor
	var of []int // the parameter of each element of narrow
	for i := range s.params {
		grads[i] = s.core.optimizer.Gradient(i)
		if grads[i].Defined() && grads[i].Dtype() != gotorch.Float {
			narrow, of = append(narrow, grads[i]), append(of, i)
		}
	}
	for k, g := range gotorch.ForeachCastTo(narrow, gotorch.Float) {
		grads[of[k]] = g
	}
	return grads
}

// reduceReady accumulates the gradients that the backward pass of the last microbatch has
// finished, and launches the all-reduce of full buckets, which on GPUs overlaps with the
// rest of the backward pass. All processes run the same backward pass, so their buckets are
// in the same order.
func (s *gradientSum) reduceReady() {
	for _, i := range s.accumulate() {
		s.addToBucket(i)
	}
}

func (s *gradientSum) addToBucket(i int) {
	s.reduced[i] = true
	s.bucket = append(s.bucket, s.sums[i])
	if s.filledBytes += 4 * s.sums[i].Numel(); s.filledBytes >= bucketBytes {
		s.launchBucket()
	}
}

func (s *gradientSum) launchBucket() {
	s.core.options.Group.AllReduceAsync(s.bucket)
	s.bucket, s.filledBytes = nil, 0
}

// free frees the sums, after the all-reduces that may still use them.
func (s *gradientSum) free() {
	_ = gotorch.Try(s.core.options.Group.Wait)
	for _, sum := range s.sums {
		sum.Free()
	}
}

// finish all-reduces the remaining sums and sets them as the parameters' gradients.
func (s *gradientSum) finish() {
	for i, sum := range s.sums {
		if sum.Defined() && !s.reduced[i] {
			s.addToBucket(i)
		}
	}
	s.launchBucket()
	s.core.options.Group.Wait()
	for i, p := range s.params {
		if s.sums[i].Defined() {
			p.SetGrad(s.sums[i])
		}
	}
}
