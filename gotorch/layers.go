package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

// MM returns the matrix product of two matrices.
func MM(a, b Tensor) Tensor {
	return binary("MM", a, b, func(a, b C.gt_tensor) C.gt_result { return C.gt_mm(a, b) })
}

// MatMul returns the matrix product over the last two dimensions; the leading
// ones are broadcast.
func MatMul(a, b Tensor) Tensor {
	return binary("MatMul", a, b, func(a, b C.gt_tensor) C.gt_result { return C.gt_matmul(a, b) })
}

// Eigh returns the eigenvalues [..., N] of symmetric matrices [..., N, N] in ascending
// order, and the eigenvectors as columns [..., N, N]. It reads the lower triangle.
func Eigh(a Tensor) (values, vectors Tensor) {
	p := C.gt_eigh(a.defined("Eigh"))
	runtime.KeepAlive(a.owner)
	check("Eigh", p.error)
	return own(p.first), own(p.second)
}

// Linear returns input weight^T + bias; weight is [out, in], bias may be
// undefined.
func Linear(input, weight, bias Tensor) Tensor {
	r := C.gt_linear(input.defined("Linear"), weight.defined("Linear"), bias.optional("Linear"))
	runtime.KeepAlive(input.owner)
	runtime.KeepAlive(weight.owner)
	runtime.KeepAlive(bias.owner)
	return resultOf("Linear", r)
}

// cPair returns the height and width argument of a 2-D layer, from one number for both or
// one for each.
func cPair(op string, v []int64) *C.int64_t {
	switch len(v) {
	case 1:
		v = []int64{v[0], v[0]}
	case 2:
	default:
		panic(&Error{Op: op, Message: "a 2-D layer needs one number, or one for the height and one for the width"})
	}
	p, _ := cInts(v)
	return p
}

// Conv2d convolves input [N, C, H, W] with weight [O, C/groups, kH, kW]; bias
// [O] may be undefined.
func Conv2d(input, weight, bias Tensor, stride, padding, dilation []int64, groups int64) Tensor {
	const op = "Conv2d"
	r := C.gt_conv2d(input.defined(op), weight.defined(op), bias.optional(op),
		cPair(op, stride), cPair(op, padding), cPair(op, dilation), C.int64_t(groups))
	runtime.KeepAlive(input.owner)
	runtime.KeepAlive(weight.owner)
	runtime.KeepAlive(bias.owner)
	return resultOf(op, r)
}

// GroupNorm normalises input [N, C, ...] over groups of channels (Wu & He
// 2018); weight and bias [C] may be undefined.
func GroupNorm(input Tensor, groups int64, weight, bias Tensor, eps float64) Tensor {
	r := C.gt_group_norm(input.defined("GroupNorm"), C.int64_t(groups), weight.optional("GroupNorm"), bias.optional("GroupNorm"), C.double(eps))
	runtime.KeepAlive(input.owner)
	runtime.KeepAlive(weight.owner)
	runtime.KeepAlive(bias.owner)
	return resultOf("GroupNorm", r)
}

// LinearEach returns x weights[i]^T + biases[i] for every i, with one matrix product
// in the forward pass: x is [N, I], a weight [O, I], its bias [O]. The results [N, O]
// are column slices of one matrix.
func LinearEach(x Tensor, weights, biases []Tensor) []Tensor {
	const op = "LinearEach"
	sameLength(op, weights, biases)
	w, n := cList(op, weights)
	b, _ := cList(op, biases)
	out := make([]C.gt_tensor, max(1, n))
	check(op, C.gt_linear_each(x.defined(op), w, b, n, &out[0]))
	runtime.KeepAlive(x.owner)
	runtime.KeepAlive(weights)
	runtime.KeepAlive(biases)
	results := make([]Tensor, n)
	for i := range results {
		results[i] = own(out[i])
	}
	return results
}

// GroupNormSiluOptions are the optional parts of [GroupNormSilu].
type GroupNormSiluOptions struct {
	InputBias  Tensor     // added to input first, within the kernel: the bias of the convolution before, [C], or a timestep embedding, [N, C]
	ScaleShift Tensor     // [N, 2C], scale before shift
	Linear     bool       // leaves out SiLU
	Dropout    float64    // rate of the [Tensor.PhiloxDropout] at the end, in [0, 1)
	Key        *PhiloxKey // of the dropout mask; required if Dropout is not 0
}

// GroupNormSilu returns dropout(silu((weight xhat + bias) (1 + scale) + shift)),
// where xhat is input [N, C, H, W] normalised over groups of channels: the operators
// between two convolutions of a residual block, in one kernel each for the forward
// and the backward pass (on the CPU, dropout has its own). All tensors but input are
// float32.
func GroupNormSilu(input Tensor, groups int64, weight, bias Tensor, eps float64, o GroupNormSiluOptions) Tensor {
	y, _ := groupNormSilu("GroupNormSilu", input, Tensor{}, groups, weight, bias, eps, o, false)
	return y
}

// GroupNormSiluSkip is GroupNormSilu of an input that a skip connection also uses.
// The second result is the input, for the skip connection: the kernel of the backward
// pass adds the gradients of both results.
func GroupNormSiluSkip(input Tensor, groups int64, weight, bias Tensor, eps float64, o GroupNormSiluOptions) (y, skip Tensor) {
	return groupNormSilu("GroupNormSiluSkip", input, Tensor{}, groups, weight, bias, eps, o, true)
}

// GroupNormSiluConcat is GroupNormSiluSkip of two tensors concatenated along their
// channels, [N, C1, H, W] and [N, C2, H, W], as a UNet's decoder does with an encoder's
// activations. The second result is the concatenated tensor. On a GPU the kernels
// concatenate the inputs and split their gradients.
func GroupNormSiluConcat(first, rest Tensor, groups int64, weight, bias Tensor, eps float64, o GroupNormSiluOptions) (y, skip Tensor) {
	const op = "GroupNormSiluConcat"
	rest.defined(op)
	return groupNormSilu(op, first, rest, groups, weight, bias, eps, o, true)
}

func groupNormSilu(op string, input, rest Tensor, groups int64, weight, bias Tensor, eps float64, o GroupNormSiluOptions, withSkip bool) (y, skip Tensor) {
	scaleShift, inputBias, key := o.ScaleShift, o.InputBias, PhiloxKey{}
	switch {
	case o.Key != nil:
		key = *o.Key
	case o.Dropout != 0:
		panic(&Error{Op: op, Message: "dropout needs a Key"})
	}
	step := key.StepOf
	p := C.gt_group_norm_silu(input.defined(op), C.gt_group_norm_options{
		groups: C.int64_t(groups), eps: C.double(eps), weight: weight.defined(op), bias: bias.defined(op), rest: rest.optional(op),
		scale_shift: scaleShift.optional(op), input_bias: inputBias.optional(op),
		dropout: C.double(o.Dropout), key: key.c(), step_of: step.optional(op), linear: cBool(o.Linear), with_skip: cBool(withSkip),
	})
	for _, t := range []Tensor{input, rest, weight, bias, scaleShift, inputBias, step} {
		runtime.KeepAlive(t.owner)
	}
	check(op, p.error)
	return own(p.first), own(p.second)
}

// ResidualAdd returns input + residual + bias: input and residual are [N, C, H, W] of
// one dtype, bias is [C], float32. It ends a residual block and includes the bias of
// the block's last convolution. For channels-last tensors on a GPU it is one kernel;
// libtorch would add the convolution's bias in another.
func ResidualAdd(input, residual, bias Tensor) Tensor {
	const op = "ResidualAdd"
	r := C.gt_residual_add(input.defined(op), residual.defined(op), bias.defined(op))
	runtime.KeepAlive(input.owner)
	runtime.KeepAlive(residual.owner)
	runtime.KeepAlive(bias.owner)
	return resultOf(op, r)
}

// LogSoftmax returns the logarithm of the softmax along dim.
func (t Tensor) LogSoftmax(dim int64) Tensor {
	r := C.gt_log_softmax(t.defined("LogSoftmax"), C.int64_t(dim))
	runtime.KeepAlive(t.owner)
	return resultOf("LogSoftmax", r)
}

// NllLoss returns the negative log-likelihood [N] of the labels target, int64 [N], under the
// log probabilities [N, C] of [Tensor.LogSoftmax].
func NllLoss(logProbs, target Tensor) Tensor {
	return binary("NllLoss", logProbs, target, func(a, b C.gt_tensor) C.gt_result { return C.gt_nll_loss(a, b) })
}

// ScaledDotProductAttention returns softmax(q k^T / sqrt(d)) v for q, k, v of
// shape [N, heads, T, d].
func ScaledDotProductAttention(q, k, v Tensor) Tensor {
	const op = "ScaledDotProductAttention"
	r := C.gt_attention(q.defined(op), k.defined(op), v.defined(op))
	runtime.KeepAlive(q.owner)
	runtime.KeepAlive(k.owner)
	runtime.KeepAlive(v.owner)
	return resultOf(op, r)
}

// SelfAttention returns softmax(q k^T / sqrt(d)) v as [N, T, C] for qkv [N, T, 3C]
// with channels ordered as [heads, (q, k, v), d], d = C/heads. On the CPU it is faster
// than [ScaledDotProductAttention] for few tokens.
func SelfAttention(qkv Tensor, heads int64) Tensor {
	r := C.gt_self_attention(qkv.defined("SelfAttention"), C.int64_t(heads))
	runtime.KeepAlive(qkv.owner)
	return resultOf("SelfAttention", r)
}

// Embedding returns the rows of weight [V, D] that index [...] names, as
// [..., D].
func Embedding(weight, index Tensor) Tensor {
	return binary("Embedding", weight, index, func(w, i C.gt_tensor) C.gt_result { return C.gt_embedding(w, i) })
}

// MaxPool2d returns the maximum of each window of [N, C, H, W].
func MaxPool2d(input Tensor, kernelSize, stride, padding, dilation []int64, ceilMode bool) Tensor {
	const op = "MaxPool2d"
	r := C.gt_max_pool2d(input.defined(op), cPair(op, kernelSize), cPair(op, stride), cPair(op, padding), cPair(op, dilation), cBool(ceilMode))
	runtime.KeepAlive(input.owner)
	return resultOf(op, r)
}

// AvgPool2d returns the mean of each window of [N, C, H, W]. With countIncludePad the
// mean includes the zeros of the padding.
func AvgPool2d(input Tensor, kernelSize, stride, padding []int64, countIncludePad bool) Tensor {
	const op = "AvgPool2d"
	r := C.gt_avg_pool2d(input.defined(op), cPair(op, kernelSize), cPair(op, stride), cPair(op, padding), cBool(countIncludePad))
	runtime.KeepAlive(input.owner)
	return resultOf(op, r)
}

// AdaptiveAvgPool2d averages [N, C, H, W] down to the given height and width.
func AdaptiveAvgPool2d(input Tensor, outputSize []int64) Tensor {
	const op = "AdaptiveAvgPool2d"
	r := C.gt_adaptive_avg_pool2d(input.defined(op), cPair(op, outputSize))
	runtime.KeepAlive(input.owner)
	return resultOf(op, r)
}

// UpsampleNearest2d resizes [N, C, H, W] by repeating pixels.
func UpsampleNearest2d(input Tensor, height, width int64) Tensor {
	r := C.gt_upsample_nearest2d(input.defined("UpsampleNearest2d"), C.int64_t(height), C.int64_t(width))
	runtime.KeepAlive(input.owner)
	return resultOf("UpsampleNearest2d", r)
}

// UpsampleBilinear2d resizes [N, C, H, W] bilinearly, pixel centres aligned.
func UpsampleBilinear2d(input Tensor, height, width int64) Tensor {
	r := C.gt_upsample_bilinear2d(input.defined("UpsampleBilinear2d"), C.int64_t(height), C.int64_t(width))
	runtime.KeepAlive(input.owner)
	return resultOf("UpsampleBilinear2d", r)
}

// UpsampleWeight folds nearest-neighbour upsampling by 2 into the weight [O, I, 3, 3]
// of the convolution (padding 1) after it, and returns the weight [I, O, 4, 4] for
// [UpsampleConv2d] in dtype: 16 multiplications per output instead of 36. The weight
// is float32, on the CPU; dtype is Float or BFloat16.
func UpsampleWeight(weight Tensor, dtype DType) Tensor {
	r := C.gt_upsample_weight(weight.defined("UpsampleWeight"), C.int32_t(dtype))
	runtime.KeepAlive(weight.owner)
	return resultOf("UpsampleWeight", r)
}

// UpsampleConv2d upsamples input [N, I, H, W] by 2 and convolves it, as one transposed
// convolution of stride 2 and padding 1 with a weight [I, O, 4, 4] of [UpsampleWeight];
// bias is [O].
func UpsampleConv2d(input, folded, bias Tensor) Tensor {
	const op = "UpsampleConv2d"
	r := C.gt_upsample_conv2d(input.defined(op), folded.defined(op), bias.defined(op))
	runtime.KeepAlive(input.owner)
	runtime.KeepAlive(folded.owner)
	runtime.KeepAlive(bias.owner)
	return resultOf(op, r)
}
