package diffusion

import (
	"fmt"
	"math"
	"strings"
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
