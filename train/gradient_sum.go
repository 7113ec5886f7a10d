package train

import "github.com/wangkuiyi/gotorch"

// bucketBytes is how many bytes of gradients the processes add up at a time, as
// PyTorch's DistributedDataParallel does: many enough to keep the connection busy, few
// enough that it has work while the way back goes on.
const bucketBytes = 25 << 20

// gradientSum adds up the gradients of a step's microbatches in float32, whatever a
// copy of a weight gathers them in: all parameters at once, where autograd would add
// one after the other, and in its order, so that the sum is the same to the bit. Then it
// adds up those of all processes.
type gradientSum struct {
	t       *Trainer
	params  []gotorch.Tensor
	sums    []gotorch.Tensor // per parameter, unscoped; undefined where there has been no gradient
	reduced []bool           // per parameter, whether it has been handed to the other processes

	bucket      []gotorch.Tensor // sums to hand to them next
	filledBytes int64
}

func (t *Trainer) newGradientSum() *gradientSum {
	params := t.network.Tensors()
	return &gradientSum{t: t, params: params, sums: make([]gotorch.Tensor, len(params)), reduced: make([]bool, len(params))}
}

// accumulate moves the gradients that there are to the sum, and returns of which parameters.
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
		s.t.optimizer.ZeroGrad()
	})
	return accumulated
}

// inFloat returns each parameter's gradient in float32.
func (s *gradientSum) inFloat() []gotorch.Tensor {
	grads := make([]gotorch.Tensor, len(s.params))
	var narrow []gotorch.Tensor
	var of []int // the parameters that narrow are of
	for i := range s.params {
		grads[i] = s.t.optimizer.Gradient(i)
		if grads[i].Defined() && grads[i].Dtype() != gotorch.Float {
			narrow, of = append(narrow, grads[i]), append(of, i)
		}
	}
	for k, g := range gotorch.ForeachCastTo(narrow, gotorch.Float) {
		grads[of[k]] = g
	}
	return grads
}

// reduceReady takes the gradients that there are, which must be those of a last microbatch,
// and has the processes add up what that makes whole, on GPUs beside the rest of the way
// back. All processes go the same way back, and so they share in one order.
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
	s.t.group.AllReduceAsync(s.bucket)
	s.bucket, s.filledBytes = nil, 0
}

// free frees the sums that finish has not, which a GPU may still be adding up.
func (s *gradientSum) free() {
	_ = gotorch.Try(s.t.group.Wait)
	for _, sum := range s.sums {
		sum.Free()
	}
}

// finish shares what is left, and puts the sums where the optimizer looks for them.
func (s *gradientSum) finish() {
	for i, sum := range s.sums {
		if sum.Defined() && !s.reduced[i] {
			s.addToBucket(i)
		}
	}
	s.launchBucket()
	s.t.group.Wait()
	for i, p := range s.params {
		if s.sums[i].Defined() {
			p.SetGrad(s.sums[i])
		}
	}
}
