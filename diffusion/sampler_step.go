package diffusion

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// step evaluates the network and returns the next image and the predicted x_0, without
// gradients. It reads noise only if the step needs it.
func (d *GaussianDiffusion) step(c stepCoefficients, denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool) (next, predXStart gotorch.Tensor) {
	o := gotorch.ReverseStepOptions{Clip: clipDenoised}
	if c.needsNoise(t) {
		mustMatch(c.op, "noise", noise, x)
		o.Noise = noise
	}
	gotorch.NoGrad(func() {
		modelOutput := d.modelOutput(denoise, x, t, cond)
		rows := t.extractRows(c.rows).Expand(x.Size(0), gotorch.ReverseStepColumns)
		next, predXStart = gotorch.DiffusionReverseStep(modelOutput, x, rows, o)
		if c.classifier != nil {
			next, predXStart = d.shift(c, modelOutput, x, t, cond, next, predXStart)
		}
	})
	return next, predXStart
}

// shift adds the guidance of c.classifier to a step from x.
func (d *GaussianDiffusion) shift(c stepCoefficients, modelOutput, x gotorch.Tensor, t Timesteps, cond Cond, next, predXStart gotorch.Tensor) (gotorch.Tensor, gotorch.Tensor) {
	gradient := c.classifier.Gradient(x, t.scaled, cond).CastTo(gotorch.Float)
	scale := c.classifier.Scale
	if !c.shifts.Defined() {
		return next.Addcmul(d.variance(modelOutput, t), gradient, scale), predXStart
	}
	shifts := t.extractRows(c.shifts.Tensor)
	factor := func(i int64) gotorch.Tensor { return shifts.Narrow(1, i, 1).View(-1, 1, 1, 1) }
	return next.Addcmul(factor(0), gradient, scale), predXStart.Addcmul(factor(1), gradient, scale)
}

// variance returns the variance of p(x_{t-1} | x_t), [N, C, H, W], or [N, 1, 1, 1] if fixed.
func (d *GaussianDiffusion) variance(modelOutput gotorch.Tensor, t Timesteps) gotorch.Tensor {
	v := d.VarType.definition()
	if !v.learned {
		return t.extract(v.variance)
	}
	return v.logVariance(modelOutput.Chunk(2, 1)[1], t).Exp()
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
			rows, coefficients := d.coefficients.ddimCoefficients(d.MeanType.definition(), key.eta)
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
