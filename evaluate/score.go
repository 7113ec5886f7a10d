package evaluate

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// scoreSplit is the number of images of a split of the Inception Score.
const scoreSplit = 5000

// InceptionScore returns exp(E KL(p(y|x) || p(y))) (Salimans et al. 2016) of the predicted
// class distributions for pooled features [N, 2048]: the mean over splits of 5000 images,
// of which the last may be smaller, and the standard deviation.
func (n *Inception) InceptionScore(pool gotorch.Tensor) (mean, std float64) {
	var sum, squares float64
	splits := 0.0
	for first := int64(0); first < pool.Size(0); first += scoreSplit {
		s := n.splitScore(pool.Narrow(0, first, min(scoreSplit, pool.Size(0)-first)))
		sum, squares, splits = sum+s, squares+s*s, splits+1
	}
	mean = sum / splits
	return mean, math.Sqrt(max(squares/splits-mean*mean, 0))
}

// splitScore is the score of a split. The KL divergence is the mean of sum p log p minus
// sum q log q, where q is the mean of p.
func (n *Inception) splitScore(pool gotorch.Tensor) (score float64) {
	gotorch.Scope(func() {
		logP := n.logits(pool).CastTo(gotorch.Double).LogSoftmax(1)
		p := logP.Exp()
		q := p.MeanDims(false, 0)
		ownEntropy := p.Mul(logP).SumDims(false, 1).Mean()
		score = math.Exp(ownEntropy.Sub(q.Mul(q.ClampMin(math.SmallestNonzeroFloat64).Log()).Sum(), 1).Float64())
	})
	return score
}
