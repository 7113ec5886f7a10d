// Package functional has upstream gotorch's names for the layers that keep no
// parameters of their own, as torch.nn.functional has. A refused argument
// panics with a [*gotorch.Error], as in package gotorch.
package functional

import (
	torch "github.com/wangkuiyi/gotorch"
)

// BatchNorm normalises input [N, C, ...] over the batch and moves the running
// statistics [C] by momentum, or, when training is false, normalises by those.
// The statistics, weight and bias may be undefined (training needs none).
func BatchNorm(input, runningMean, runningVar, weight, bias torch.Tensor, training bool, momentum, eps float64) torch.Tensor {
	return torch.BatchNorm(input, runningMean, runningVar, weight, bias, training, momentum, eps)
}

// Conv2d convolves input [N, C, H, W] with weight [O, C/groups, kH, kW]; bias
// [O] may be undefined. Each list holds one number, or one for the height and
// one for the width.
func Conv2d(input, weight, bias torch.Tensor, stride, padding, dilation []int64, groups int64) torch.Tensor {
	return torch.Conv2d(input, weight, bias, stride, padding, dilation, groups)
}

// ConvTranspose2d is the transpose of [Conv2d]; weight is [C, O/groups, kH, kW].
func ConvTranspose2d(input, weight, bias torch.Tensor, stride, padding, outputPadding []int64, groups int64, dilation []int64) torch.Tensor {
	return torch.ConvTranspose2d(input, weight, bias, stride, padding, outputPadding, groups, dilation)
}

// LogSoftmax returns the logarithm of the softmax along dim. As in upstream, a
// negative dim refers to torch's old default: 0 for a scalar, a vector and three
// dimensions, else 1.
func LogSoftmax(input torch.Tensor, dim int64) torch.Tensor {
	if dim < 0 {
		switch input.Dim() {
		case 0, 1, 3:
			dim = 0
		default:
			dim = 1
		}
	}
	return input.LogSoftmax(dim)
}

// NllLoss returns the negative log-likelihood of target [N, ...], class
// numbers, under the log probabilities input [N, C, ...]. Targets equal to
// ignoreIndex do not count; weight [C] may be undefined; reduction is none,
// mean or sum.
func NllLoss(input, target, weight torch.Tensor, ignoreIndex int64, reduction string) torch.Tensor {
	return torch.NllLoss(input, target, weight, ignoreIndex, reduction)
}

// CrossEntropy is [NllLoss] of the softmax over dimension 1 of the logits input
// [N, C, ...].
func CrossEntropy(input, target, weight torch.Tensor, ignoreIndex int64, reduction string) torch.Tensor {
	classes := int64(1)
	if input.Dim() == 1 {
		classes = 0
	}
	return torch.NllLoss(input.LogSoftmax(classes), target, weight, ignoreIndex, reduction)
}

// BinaryCrossEntropy compares the probabilities input with target, of the same
// shape; weight may be undefined; reduction is none, mean or sum.
func BinaryCrossEntropy(input, target, weight torch.Tensor, reduction string) torch.Tensor {
	return torch.BinaryCrossEntropy(input, target, weight, reduction)
}

// Relu returns max(input, 0), written over input if inplace.
func Relu(input torch.Tensor, inplace bool) torch.Tensor {
	if inplace {
		return over(input, input.Clone().Relu())
	}
	return input.Relu()
}

// LeakyRelu returns input where it is positive, else negativeSlope input,
// written over input if inplace.
func LeakyRelu(input torch.Tensor, negativeSlope float64, inplace bool) torch.Tensor {
	if inplace {
		return over(input, input.Clone().LeakyRelu(negativeSlope))
	}
	return input.LeakyRelu(negativeSlope)
}

// over writes result over input. The result comes from a clone, for its gradient
// needs the elements that are lost here.
func over(input, result torch.Tensor) torch.Tensor {
	input.CopyI(result)
	return input
}

// Linear returns input weight^T + bias; weight is [out, in], bias [out] may be
// undefined.
func Linear(input, weight, bias torch.Tensor) torch.Tensor {
	return torch.Linear(input, weight, bias)
}

// MaxPool2d takes the largest element of each window of input [N, C, H, W].
func MaxPool2d(input torch.Tensor, kernelSize, stride, padding, dilation []int64, ceilMode bool) torch.Tensor {
	return torch.MaxPool2d(input, kernelSize, stride, padding, dilation, ceilMode)
}

// AdaptiveAvgPool2d averages input [N, C, H, W] down to the given height and
// width.
func AdaptiveAvgPool2d(input torch.Tensor, outputSize []int64) torch.Tensor {
	return torch.AdaptiveAvgPool2d(input, outputSize)
}
