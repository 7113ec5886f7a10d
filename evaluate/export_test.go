package evaluate

import "github.com/wangkuiyi/gotorch"

// NewMoments exports newMoments to the external tests.
var NewMoments = newMoments

// Logits exports logits to the external tests.
func (n *Inception) Logits(pool gotorch.Tensor) gotorch.Tensor { return n.logits(pool) }
