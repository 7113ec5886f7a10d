package diffusion

import (
	"errors"
	"fmt"
	"math"

	"github.com/wangkuiyi/gotorch"
)

// Schedule holds the betas and the quantities derived from them: host copies, float64,
// each [T].
type Schedule struct {
	Betas             []float64 // beta_t, the variance of the noise added at step t
	AlphasCumprod     []float64 // alphaBar_t, the fraction of the signal's variance left after step t
	AlphasCumprodPrev []float64 // alphaBar_{t-1}; 1 at t = 0
	AlphasCumprodNext []float64 // alphaBar_{t+1}; 0 at t = T-1

	PosteriorVariance           []float64 // betaTilde_t, equation 10; 0 at t = 0
	PosteriorLogVarianceClipped []float64 // its log, nats; at t = 0 that of t = 1
	PosteriorMeanCoef1          []float64 // x_0's factor in equation 11
	PosteriorMeanCoef2          []float64 // x_t's factor in equation 11
}

// NewSchedule computes a Schedule on the CPU. It needs at least two betas, each between 0
// and 1: at t = 0 the clipped log posterior variance is that of t = 1. The last may be 1,
// with which x_T has no signal (zero terminal SNR).
func NewSchedule(betas []float64) (s Schedule, err error) {
	if err := checkBetas(betas); err != nil {
		return Schedule{}, err
	}
	err = inScope(func() {
		s = newDeviceSchedule(gotorch.FromFloat64s(betas)).toHost()
	})
	if err == nil && s.AlphasCumprod[len(betas)-1] == 0 && !s.zeroTerminalSNR() {
		return Schedule{}, errors.New("the betas leave no signal at the last step: alphas_cumprod underflows to 0 in float64")
	}
	return s, err
}

// NumTimesteps returns T.
func (s Schedule) NumTimesteps() int { return len(s.Betas) }

// Sigma returns the noise level of x_t / sqrt(alphaBar_t), sqrt((1 - alphaBar_t) / alphaBar_t).
func (s Schedule) Sigma(t int) float64 {
	return math.Sqrt((1 - s.AlphasCumprod[t]) / s.AlphasCumprod[t])
}

// zeroTerminalSNR reports whether x_t has no signal at t = T-1.
func (s Schedule) zeroTerminalSNR() bool { return s.Betas[len(s.Betas)-1] == 1 }

// deviceSchedule is a Schedule as float64 tensors [T] on a device. It also has alpha_t.
type deviceSchedule struct {
	betas, alphas, alphasCumprod, alphasCumprodPrev, alphasCumprodNext                     gotorch.Tensor
	posteriorVariance, posteriorLogVarianceClipped, posteriorMeanCoef1, posteriorMeanCoef2 gotorch.Tensor
}

// newDeviceSchedule derives a schedule from betas, float64 [T], on the betas' device.
func newDeviceSchedule(betas gotorch.Tensor) deviceSchedule {
	s := deviceSchedule{betas: betas}
	s.setCumprods()
	s.setPosterior()
	return s
}

func checkBetas(betas []float64) error {
	if len(betas) < 2 {
		return fmt.Errorf("a diffusion needs at least 2 steps, got %d", len(betas))
	}
	for t, b := range betas {
		if !(b > 0 && b < 1) && !(b == 1 && t == len(betas)-1) {
			return fmt.Errorf("beta is %v at step %d of %d: each must be between 0 and 1", b, t, len(betas))
		}
	}
	return nil
}

func (s *deviceSchedule) setCumprods() {
	one := gotorch.FullOn(s.betas.Device(), gotorch.Double, 1, 1)
	s.alphas = oneMinus(s.betas)
	s.alphasCumprod = s.alphas.Cumprod(0)
	s.alphasCumprodPrev = gotorch.Cat([]gotorch.Tensor{one, s.alphasCumprod.Narrow(0, 0, s.alphas.Numel()-1)}, 0)
	s.alphasCumprodNext = gotorch.Cat([]gotorch.Tensor{s.alphasCumprod.Narrow(0, 1, s.alphas.Numel()-1), one.MulScalar(0)}, 0)
}

// setPosterior computes q(x_{t-1} | x_t, x_0): equations 10 and 11.
func (s *deviceSchedule) setPosterior() {
	s.posteriorVariance = s.betas.Mul(oneMinus(s.alphasCumprodPrev)).Div(oneMinus(s.alphasCumprod))
	s.posteriorLogVarianceClipped = firstFromSecond(s.posteriorVariance).Log()
	s.posteriorMeanCoef1 = s.betas.Mul(s.alphasCumprodPrev.Sqrt()).Div(oneMinus(s.alphasCumprod))
	s.posteriorMeanCoef2 = oneMinus(s.alphasCumprodPrev).Mul(s.alphas.Sqrt()).Div(oneMinus(s.alphasCumprod))
}

func (s deviceSchedule) toHost() Schedule {
	return Schedule{
		Betas:                       s.betas.Float64s(),
		AlphasCumprod:               s.alphasCumprod.Float64s(),
		AlphasCumprodPrev:           s.alphasCumprodPrev.Float64s(),
		AlphasCumprodNext:           s.alphasCumprodNext.Float64s(),
		PosteriorVariance:           s.posteriorVariance.Float64s(),
		PosteriorLogVarianceClipped: s.posteriorLogVarianceClipped.Float64s(),
		PosteriorMeanCoef1:          s.posteriorMeanCoef1.Float64s(),
		PosteriorMeanCoef2:          s.posteriorMeanCoef2.Float64s(),
	}
}

func oneMinus(t gotorch.Tensor) gotorch.Tensor { return t.Neg().AddScalar(1) }

// firstFromSecond returns v, [T], with the value at t = 0 replaced by that at t = 1.
func firstFromSecond(v gotorch.Tensor) gotorch.Tensor {
	return gotorch.Cat([]gotorch.Tensor{v.Narrow(0, 1, 1), v.Narrow(0, 1, v.Numel()-1)}, 0)
}

// inScope runs f in a scope, and returns an operator's panic as an error.
func inScope(f func()) error { return gotorch.Try(func() { gotorch.Scope(f) }) }
