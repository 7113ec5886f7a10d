// Package initializer has upstream gotorch's names for torch.nn.init: each
// function overwrites a tensor in place, outside the graph of gradients, and
// draws from libtorch's global generator. A refused argument panics with a
// [*gotorch.Error].
package initializer

import (
	"fmt"
	"math"

	torch "github.com/wangkuiyi/gotorch"
)

// ManualSeed seeds the generator that the functions here draw from.
func ManualSeed(seed int64) { torch.ManualSeed(seed) }

// Zeros fills a with zeros, torch.nn.init.zeros_.
func Zeros(a *torch.Tensor) { fill("Zeros", a, 0) }

// Ones fills a with ones, torch.nn.init.ones_.
func Ones(a *torch.Tensor) { fill("Ones", a, 1) }

func fill(op string, a *torch.Tensor, v float64) {
	x := given(op, a)
	torch.NoGrad(func() { x.FillI(v) })
}

// Uniform fills a from U[low, high), torch.nn.init.uniform_.
func Uniform(a *torch.Tensor, low, high float64) { given("Uniform", a).UniformI(low, high, nil) }

// Normal fills a from N(mean, std^2), torch.nn.init.normal_.
func Normal(a *torch.Tensor, mean, std float64) { given("Normal", a).NormalI(mean, std, nil) }

// KaimingUniform fills a weight [out, in, ...] from U(-b, b), where
// b = gain sqrt(3 / fan), so that the signal keeps its variance (He et al. 2015,
// torch.nn.init.kaiming_uniform_). fanMode is fan_in (forwards) or fan_out
// (backwards); a is the negative slope of leaky_relu; nonLinearity is linear,
// conv1d to conv3d, conv_transpose1d to conv_transpose3d, sigmoid, tanh, relu,
// leaky_relu or selu.
func KaimingUniform(input *torch.Tensor, a float64, fanMode string, nonLinearity string) {
	const op = "KaimingUniform"
	fanIn, fanOut := CalculateFanInAndFanOut(given(op, input))
	fan := fanIn
	switch fanMode {
	case "fan_in":
	case "fan_out":
		fan = fanOut
	default:
		refuse(op, "no fan mode %q: use fan_in or fan_out", fanMode)
	}
	if fan == 0 {
		return // there is nothing to fill
	}
	bound := gain(op, nonLinearity, a) * math.Sqrt(3/float64(fan))
	input.UniformI(-bound, bound, nil)
}

// gain is torch.nn.init.calculate_gain.
func gain(op, nonLinearity string, slope float64) float64 {
	switch nonLinearity {
	case "linear", "sigmoid", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d":
		return 1
	case "tanh":
		return 5. / 3
	case "relu":
		return math.Sqrt2
	case "leaky_relu":
		return math.Sqrt(2 / (1 + slope*slope))
	case "selu":
		return 0.75
	}
	refuse(op, "no gain is known for the nonlinearity %q", nonLinearity)
	return 0
}

// CalculateFanInAndFanOut returns how many inputs feed one output of a weight
// [out, in, ...], and how many outputs one input feeds.
func CalculateFanInAndFanOut(input torch.Tensor) (int64, int64) {
	shape := input.Shape()
	if len(shape) < 2 {
		refuse("CalculateFanInAndFanOut", "a weight has at least two dimensions, not the shape %v", shape)
	}
	window := int64(1)
	for _, size := range shape[2:] {
		window *= size
	}
	return shape[1] * window, shape[0] * window
}

func given(op string, a *torch.Tensor) torch.Tensor {
	if a == nil || !a.Defined() {
		refuse(op, "the tensor is undefined")
	}
	return *a
}

func refuse(op, format string, args ...any) {
	panic(&torch.Error{Op: op, Message: fmt.Sprintf(format, args...)})
}
