package diffusion

import (
	"fmt"
	"math"
	"strings"

	"github.com/wangkuiyi/gotorch"
)

// Sampler is the update rule from x_t to x_{t-1}: see [Sampler.definition].
type Sampler int

// The samplers. DDIM, DPMPP2M and Heun solve the probability flow ODE: without Eta, an image is a
// function of x_T alone.
const (
	Ancestral  Sampler = iota // from p(x_{t-1} | x_t): Ho et al. 2020, algorithm 2
	DDIM                      // Song et al. 2021 (arXiv 2010.02502), equation 12: first order
	DPMPP2M                   // DPM-Solver++(2M), Lu et al. 2022 (arXiv 2211.01095), algorithm 2: second order
	DPMPP2MSDE                // SDE-DPM-Solver++(2M) of the same paper: adds noise
	Heun                      // Karras et al. 2022 (arXiv 2206.00364), algorithm 1 without churn: second order, two evaluations a step
	numSamplers
)

// samplerDefinition says how a sampler gets from x_t to x_{t-1}. With lambda = log(sqrt(alphaBar) /
// sqrt(1 - alphaBar)), half the log-SNR, and h its increase in the step, the samplers other than
// Ancestral are DDIM, exact for a predicted x_0 that is constant in the step, and a correction for
// one that changes. A further sampler is one more case in [Sampler.definition].
type samplerDefinition struct {
	name     string
	spacing  Spacing // of the timesteps where the caller does not choose
	ancestor bool    // samples from p(x_{t-1} | x_t), with the variance of ModelVarType; else by DDIM
	takesEta bool    // DDIM's eta is SampleOptions.Eta; else eta
	eta      float64
	// correction returns the factor, at a timestep, of the difference of two predictions of x_0 that
	// is added to the DDIM step, whose factor of x_0 is xStart. nil: none.
	correction func(s solverStep) float64
	// lookahead takes the difference from a second evaluation, at the end of the step, to the
	// first; else it is from the first to that of the step before.
	lookahead bool
}

// solverStep is a step of a sampler, not the last one, in the terms of samplerDefinition.
type solverStep struct {
	h      float64 // increase of lambda in this step
	before float64 // increase of lambda in the step before, infinite in the first
	signal float64 // sqrt(alphaBar) after the step
	xStart float64 // factor of x_0 in the DDIM step
}

// multistep continues the change of x_0 since the step before: with r = before / h, D = x_0 + (x_0 -
// x_0 before) / 2r replaces x_0 in the step.
func multistep(s solverStep) float64 { return s.xStart * s.h / (2 * s.before) }

// heunCorrection is the trapezoidal rule in x / sqrt(alphaBar) and sigma = exp(-lambda). Both slopes
// are (x / sqrt(alphaBar) - x_0) / sigma at the end of the Euler step, a straight line towards
// x_0, so that their difference is that of both x_0.
func heunCorrection(s solverStep) float64 {
	if math.IsInf(s.h, 1) { // from pure noise: sigma is infinite, and the step is Euler's
		return 0
	}
	return s.signal * math.Expm1(s.h) / 2
}

// definition returns the definition of s.
func (s Sampler) definition() samplerDefinition {
	switch s {
	case DDIM:
		return samplerDefinition{name: "ddim", takesEta: true}
	case DPMPP2M:
		return samplerDefinition{name: "dpmpp-2m", spacing: Trimmed, correction: multistep}
	case DPMPP2MSDE: // its first-order step is DDIM with the variance of the posterior
		return samplerDefinition{name: "dpmpp-2m-sde", spacing: Trimmed, eta: 1, correction: multistep}
	case Heun: // in sigma, of which Trimmed's first step has nearly all
		return samplerDefinition{name: "heun", spacing: EvenLogSNR, correction: heunCorrection, lookahead: true}
	}
	return samplerDefinition{name: "ddpm", ancestor: true}
}

// Samplers returns all samplers.
func Samplers() []Sampler {
	all := make([]Sampler, numSamplers)
	for i := range all {
		all[i] = Sampler(i)
	}
	return all
}

// ParseSampler returns the sampler of a name.
func ParseSampler(name string) (Sampler, error) {
	var names []string
	for _, s := range Samplers() {
		if s.String() == name {
			return s, nil
		}
		names = append(names, s.String())
	}
	return 0, fmt.Errorf("unknown sampler %q: use one of %s", name, strings.Join(names, ", "))
}

// String returns the sampler's name: ddpm, ddim, dpmpp-2m, dpmpp-2m-sde or heun.
func (s Sampler) String() string {
	if s < 0 || s >= numSamplers {
		return fmt.Sprintf("sampler %d", int(s))
	}
	return s.definition().name
}

// Deterministic reports whether images are functions of x_T alone, with eta for DDIM.
func (s Sampler) Deterministic(eta float64) bool {
	c := s.definition()
	return !c.ancestor && c.etaOf(eta) == 0
}

// Spacing returns the spacing of timesteps that suits the sampler.
func (s Sampler) Spacing() Spacing { return s.definition().spacing }

// Evaluations returns how often the sampler evaluates the network in a number of steps.
func (s Sampler) Evaluations(steps int) int {
	if s.definition().lookahead {
		return max(2*steps-1, 0) // the last step goes to x_0 itself
	}
	return steps
}

func (c samplerDefinition) etaOf(eta float64) float64 {
	if c.takesEta {
		return eta
	}
	return c.eta
}

// samplerKey is the key of the cache of coefficients.
type samplerKey struct {
	sampler Sampler
	eta     float64
}

// samplerCoefficients are the coefficients of a sampler, computed once per sampler and eta.
func (d *GaussianDiffusion) samplerCoefficients(s Sampler, eta float64) stepCoefficients {
	definition := s.definition()
	if definition.ancestor {
		return d.pSample
	}
	key := samplerKey{s, definition.etaOf(eta)}
	c, known := d.samplers[key]
	if !known {
		gotorch.Scope(func() {
			rows, coefficients := d.newDDIMSampleCoefficients(key.eta)
			if c = coefficients; definition.correction != nil {
				c.correction = d.corrections(definition, rows.nextOfXStart.Float64s())
				c.lookahead = definition.lookahead
			}
		})
		d.samplers[key] = c
	}
	return c
}

// corrections returns a sampler's factors, float32 [T, 1]. xStart are the factors of x_0, [T]. The
// last step, t = 0, goes to x_0 itself and has no correction.
func (d *GaussianDiffusion) corrections(definition samplerDefinition, xStart []float64) gotorch.Tensor {
	factors := make([]float64, len(xStart))
	lambda := func(t int) float64 { return -math.Log(d.Sigma(t)) }
	for t := 1; t < len(factors); t++ {
		s := solverStep{h: lambda(t-1) - lambda(t), before: math.Inf(1), signal: math.Sqrt(d.AlphasCumprod[t-1]), xStart: xStart[t]}
		if t+1 < len(factors) {
			s.before = lambda(t) - lambda(t+1)
		} else if !definition.lookahead {
			continue // no step before
		}
		factors[t] = definition.correction(s)
	}
	return gotorch.FromFloat64s(factors, int64(len(factors)), 1).To(d.device, gotorch.Float).Unscoped()
}

// samplerVariant are the operators of a step that differ between timesteps: a set of the constants below.
type samplerVariant int

const (
	guidedFirst samplerVariant = 1 << iota // guidance at the step's begin
	guidedAfter                            // guidance at its end, where a second evaluation is
	lastStep                               // to x_0: no second evaluation
)

// variants returns the variant of the step at each timestep, nil if all are the same. guided is nil
// without guidance.
func (c stepCoefficients) variants(guided func(t int) bool) func(t int) int {
	if guided == nil && !c.lookahead {
		return nil
	}
	return func(t int) int {
		var v samplerVariant
		if guided != nil && guided(t) {
			v |= guidedFirst
		}
		if c.lookahead && t == 0 {
			v |= lastStep
		}
		if c.lookahead && t > 0 && guided != nil && guided(t-1) {
			v |= guidedAfter
		}
		return int(v)
	}
}

// samplerStep is a step of a sampler with its correction. denoise returns the network with or without
// guidance.
func (d *GaussianDiffusion) samplerStep(c stepCoefficients, denoise func(guided bool) Denoiser, b stepBuffers, t Timesteps, v samplerVariant, clipDenoised bool) (next, predXStart gotorch.Tensor) {
	next, predXStart = d.step(c, denoise(v&guidedFirst != 0), b.x, t, b.noise, b.cond, clipDenoised)
	if !c.correction.Defined() || c.lookahead && v&lastStep != 0 {
		return next, predXStart
	}
	factor := t.extractRows(c.correction).View(-1, 1, 1, 1)
	if c.lookahead {
		_, after := d.step(c, denoise(v&guidedAfter != 0), next, d.before(t, next.Size(0)), gotorch.Tensor{}, b.cond, clipDenoised)
		return next.Addcmul(factor, after.Sub(predXStart, 1), 1), predXStart
	}
	next = next.Addcmul(factor.Mul(b.hasHistory), predXStart.Sub(b.history, 1), 1)
	b.history.CopyI(predXStart)
	return next, predXStart
}
