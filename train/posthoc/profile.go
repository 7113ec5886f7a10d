// Package posthoc is the mathematics of power-function EMAs: averages of the weights of a
// training run whose length can be chosen after training (Karras et al. 2023, arXiv 2312.02696,
// section 3 and appendix C).
//
// The EMA of exponent gamma after step t is the mean of the weights of all steps with a density
// in proportion to step^gamma, p(s) = (gamma+1) s^gamma / t^(gamma+1) for s in [0, t]. Unlike an
// EMA with a constant decay rate it forgets the initial weights, and its length, the standard
// deviation of p, is a constant fraction of the training so far. A linear combination of stored
// EMAs of a few lengths and many steps approximates the EMA of any length at any step:
// [Coefficients].
package posthoc

import (
	"fmt"
	"math"
)

// MaxLength is the length of gamma = 0, the uniform mean of the weights of all steps.
const MaxLength = 0.28867513459481287 // 1/sqrt(12)

// minLength keeps gamma below 10,000, at which an EMA is the weights of the last few steps.
const minLength = 1e-4

// Profile is the averaging profile of a power-function EMA: its density over the steps.
type Profile struct {
	Step  float64 // t, optimizer steps, above 0
	Gamma float64 // exponent, 0 or above
}

// Gamma returns the exponent of the EMA of a length, the standard deviation of its density
// relative to the training so far (sigma_rel): the root of length^2 (gamma+2)^2 (gamma+3) =
// gamma + 1, equations 126 and 127.
func Gamma(length float64) (float64, error) {
	if !(length >= minLength && length <= MaxLength) {
		return 0, fmt.Errorf("a power-function EMA of length %g does not exist: the length is a fraction of the training, from %g to %.4g, such as 0.05 or 0.10", length, minLength, MaxLength)
	}
	low, high := 0.0, 1/length // length is below 1/gamma, and falls as gamma rises
	for {
		middle := low + (high-low)/2
		if middle == low || middle == high {
			return middle, nil
		}
		if Length(middle) > length {
			low = middle
		} else {
			high = middle
		}
	}
}

// Length returns the length of the EMA of an exponent: equation 126.
func Length(gamma float64) float64 {
	return math.Sqrt((gamma+1)/(gamma+3)) / (gamma + 2)
}

// UpdateWeight returns the factor of the new weights in the update of an EMA by step t, counted
// from 1: 1 - beta with beta = (1 - 1/t)^(gamma+1), equation 127. It is 1 at the first step.
func UpdateWeight(gamma float64, step int) float64 {
	return -math.Expm1((gamma + 1) * math.Log1p(-1/float64(step)))
}

// dot returns the inner product of two profiles, the integral of p q: equation 149.
func dot(p, q Profile) float64 {
	if p.Step > q.Step {
		p, q = q, p
	}
	return (p.Gamma + 1) * (q.Gamma + 1) / (p.Gamma + q.Gamma + 1) * math.Pow(p.Step/q.Step, q.Gamma) / q.Step
}
