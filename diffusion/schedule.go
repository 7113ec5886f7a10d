package diffusion

// #cgo LDFLAGS: -lm
// #include <math.h>
import "C"

import (
	"errors"
	"fmt"
	"math"
)

// The named noise schedules.
const (
	Linear = "linear" // Ho et al. 2020, scaled to any number of steps
	Cosine = "cosine" // equation 17
)

// maxSteps bounds T, so that a typo in a flag does not exhaust memory.
const maxSteps = 1_000_000

// NamedBetas returns the T variances beta_t of a named noise schedule. Linear
// needs T > 20, since its last beta is 20/T; cosine needs T >= 2.
func NamedBetas(name string, steps int) ([]float64, error) {
	if steps > maxSteps {
		return nil, fmt.Errorf("diffusion_steps is %d: use at most %d", steps, maxSteps)
	}
	switch name {
	case Linear:
		if steps <= 20 {
			return nil, fmt.Errorf("diffusion_steps is %d: the linear schedule needs more than 20, since its last beta, 20/diffusion_steps, must be below 1", steps)
		}
		return linearBetas(steps), nil
	case Cosine:
		if steps < 2 {
			return nil, fmt.Errorf("diffusion_steps is %d: the cosine schedule needs at least 2", steps)
		}
		return cosineBetas(steps), nil
	}
	return nil, fmt.Errorf("unknown noise_schedule %q: use %s or %s", name, Linear, Cosine)
}

// linearBetas are evenly spaced from 0.1/T to 20/T: from 1e-4 to 0.02 for T = 1000.
func linearBetas(steps int) []float64 {
	scale := 1000 / float64(steps)
	first, last := scale*0.0001, scale*0.02
	stride := (last - first) / float64(steps-1)
	betas := make([]float64, steps)
	for i := range betas {
		betas[i] = float64(float64(i)*stride) + first // the conversion forbids a fused multiply-add
	}
	betas[steps-1] = last
	return betas
}

// cosineBetas discretizes alphaBar and clips beta at 0.999, which keeps the last
// step from a singularity.
func cosineBetas(steps int) []float64 {
	betas := make([]float64, steps)
	for i := range betas {
		t1, t2 := float64(i)/float64(steps), float64(i+1)/float64(steps)
		betas[i] = min(1-alphaBar(t2)/alphaBar(t1), 0.999)
	}
	return betas
}

// alphaBar is f of equation 17 with s = 0.008, at t/T. It calls the C library:
// the early betas are differences of numbers close to 1 and magnify the last bit
// of the cosine and of its square, in which Go's math differs.
func alphaBar(t float64) float64 {
	return float64(C.pow(C.cos(C.double((t+0.008)/1.008*math.Pi/2)), 2))
}

// Schedule holds the betas and the quantities derived from them, float64, each [T].
type Schedule struct {
	Betas             []float64 // beta_t, the variance of the noise added at step t
	AlphasCumprod     []float64 // alphaBar_t, the fraction of the signal's variance left after step t
	AlphasCumprodPrev []float64 // alphaBar_{t-1}; 1 at t = 0
	AlphasCumprodNext []float64 // alphaBar_{t+1}; 0 at t = T-1

	SqrtAlphasCumprod         []float64 // x_0's factor in x_t
	SqrtOneMinusAlphasCumprod []float64 // the noise's factor in x_t
	LogOneMinusAlphasCumprod  []float64 // log variance of q(x_t | x_0), nats
	SqrtRecipAlphasCumprod    []float64 // sqrt(1/alphaBar_t)
	SqrtRecipm1AlphasCumprod  []float64 // sqrt(1/alphaBar_t - 1)

	PosteriorVariance           []float64 // betaTilde_t, equation 10; 0 at t = 0
	PosteriorLogVarianceClipped []float64 // its log, nats; at t = 0 that of t = 1
	PosteriorMeanCoef1          []float64 // x_0's factor in equation 11
	PosteriorMeanCoef2          []float64 // x_t's factor in equation 11
}

// NewSchedule computes a Schedule. It needs at least two betas, each between 0 and 1:
// at t = 0 the clipped log posterior variance is that of t = 1.
func NewSchedule(betas []float64) (Schedule, error) {
	if err := checkBetas(betas); err != nil {
		return Schedule{}, err
	}
	s := Schedule{Betas: append([]float64(nil), betas...)}
	s.setCumprods()
	if last := s.AlphasCumprod[len(betas)-1]; last == 0 {
		return Schedule{}, errors.New("the betas leave no signal at the last step: alphas_cumprod underflows to 0 in float64")
	}
	s.setForward()
	s.setPosterior()
	return s, nil
}

func checkBetas(betas []float64) error {
	if len(betas) < 2 {
		return fmt.Errorf("a diffusion needs at least 2 steps, got %d", len(betas))
	}
	for t, b := range betas {
		if !(b > 0 && b < 1) {
			return fmt.Errorf("beta is %v at step %d of %d: each must be between 0 and 1", b, t, len(betas))
		}
	}
	return nil
}

// NumTimesteps returns T.
func (s Schedule) NumTimesteps() int { return len(s.Betas) }

func (s *Schedule) setCumprods() {
	steps := len(s.Betas)
	s.AlphasCumprod = make([]float64, steps)
	product := 1.0
	for t, b := range s.Betas {
		product *= 1 - b
		s.AlphasCumprod[t] = product
	}
	s.AlphasCumprodPrev = append([]float64{1}, s.AlphasCumprod[:steps-1]...)
	s.AlphasCumprodNext = append(append([]float64(nil), s.AlphasCumprod[1:]...), 0)
}

func (s *Schedule) setForward() {
	of := func(f func(a float64) float64) []float64 {
		return each(len(s.Betas), func(t int) float64 { return f(s.AlphasCumprod[t]) })
	}
	s.SqrtAlphasCumprod = of(math.Sqrt)
	s.SqrtOneMinusAlphasCumprod = of(func(a float64) float64 { return math.Sqrt(1 - a) })
	s.LogOneMinusAlphasCumprod = of(func(a float64) float64 { return math.Log(1 - a) })
	s.SqrtRecipAlphasCumprod = of(func(a float64) float64 { return math.Sqrt(1 / a) })
	s.SqrtRecipm1AlphasCumprod = of(func(a float64) float64 { return math.Sqrt(1/a - 1) })
}

func (s *Schedule) setPosterior() {
	a, prev := s.AlphasCumprod, s.AlphasCumprodPrev
	of := func(f func(t int, b float64) float64) []float64 {
		return each(len(s.Betas), func(t int) float64 { return f(t, s.Betas[t]) })
	}
	s.PosteriorVariance = of(func(t int, b float64) float64 { return b * (1 - prev[t]) / (1 - a[t]) })
	s.PosteriorLogVarianceClipped = of(func(t int, _ float64) float64 { return math.Log(s.PosteriorVariance[max(t, 1)]) })
	s.PosteriorMeanCoef1 = of(func(t int, b float64) float64 { return b * math.Sqrt(prev[t]) / (1 - a[t]) })
	s.PosteriorMeanCoef2 = of(func(t int, b float64) float64 { return (1 - prev[t]) * math.Sqrt(1-b) / (1 - a[t]) })
}

func each(n int, f func(t int) float64) []float64 {
	v := make([]float64, n)
	for t := range v {
		v[t] = f(t)
	}
	return v
}
