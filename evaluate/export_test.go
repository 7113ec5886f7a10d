package evaluate

import "github.com/wangkuiyi/gotorch"

// NewMoments is newMoments for the tests outside.
var NewMoments = newMoments

// Logits is logits for the tests outside.
func (n *Inception) Logits(pool gotorch.Tensor) gotorch.Tensor { return n.logits(pool) }
