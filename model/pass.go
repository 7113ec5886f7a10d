package model

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/streams"
)

// Input are the optional arguments of [UNet.Forward]. The zero Input evaluates an
// unconditional network in float32, without dropout.
type Input struct {
	Y       gotorch.Tensor     // class labels [N], int64; needed if and only if the network is class-conditional
	LowRes  gotorch.Tensor     // for super-resolution: the low-resolution images [N, C, h, w] in [-1, 1]
	Dtype   gotorch.DType      // compute dtype: Float (or 0), BFloat16 or Half; embeddings, sums of norms and softmax stay float32
	Dropout *gotorch.PhiloxKey // key of the dropout masks (each layer sets Stream); nil: no dropout
	// Segments, if not nil, runs the backward pass in segments: Segments.Backward must follow
	// the loss's Backward.
	Segments *Segments

	// WorkingWeights are copies in Dtype of the float32 master weights. They receive the
	// gradients, and the optimizer updates them together with the master weights. nil: each
	// forward pass casts the weights.
	WorkingWeights map[*Parameter]gotorch.Tensor

	// Watch, if not nil, is called with the output of each block, in order, and the block's
	// name in the state_dict. It serves to locate non-finite values.
	Watch func(block string, h gotorch.Tensor)
}

// pass holds the state that all blocks of one forward pass share.
type pass struct {
	defersBias bool // the next operator adds a convolution's bias: on a GPU cuDNN would add it in a separate kernel
	dropout    *gotorch.PhiloxKey
	segments   *Segments
	casts      map[*Parameter]gotorch.Tensor // weights in the compute dtype: Input.WorkingWeights, or UNet.castWeights
	emb        map[*Parameter]gotorch.Tensor // each residual block's embedding projection, by its weight, if computed for all at once
}

func (p pass) dropoutKey(layer uint32) gotorch.PhiloxKey {
	key := *p.dropout
	key.Stream = streams.Dropout + layer
	return key
}

// defersBias reports whether convolutions on x's device leave their biases to the next
// operator.
func defersBias(x gotorch.Tensor) bool { return x.Device().Type == gotorch.CUDA }

// as returns a parameter in dtype, from this pass's casts if they include it.
func (p pass) as(w *Parameter, dtype gotorch.DType) gotorch.Tensor {
	if cast, made := p.casts[w]; made {
		return w.ordered(cast)
	}
	return w.as(dtype)
}
