package diffusion

import (
	"context"
	"fmt"
	"math"

	"github.com/wangkuiyi/gotorch"
)

// PSample draws x_{t-1} from p(x_{t-1} | x_t) and also returns the predicted x_0
// (Ho et al. 2020, algorithm 2). All are [N, C, H, W]; no noise is added where
// t = 0, and noise may be undefined where all t are. There are no gradients.
func (d *GaussianDiffusion) PSample(denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool) (sample, predXStart gotorch.Tensor) {
	return d.step(d.pSample, denoise, x, t, noise, cond, clipDenoised)
}

// Sampler is how a loop goes from x_t to x_{t-1}.
type Sampler int

// The samplers.
const (
	Ancestral Sampler = iota // PSample
	DDIM                     // DDIMSample
)

// SampleOptions says how to sample. The zero value is ancestral sampling, which
// needs Noise.
type SampleOptions struct {
	Sampler        Sampler
	Eta            float64 // DDIM's noise, 0 (none) to 1 (as much as the posterior has)
	NoClipDenoised bool    // leaves the predicted x_0 as it is instead of clipping it to [-1, 1]
	// SkipSteps leaves out that many steps at the start of the reverse process,
	// the noisiest, as in the paper's figure 4.
	SkipSteps int
	// Noise returns the noise of step t, [N, C, H, W], as NoiseSource.At does. It
	// is not asked at t = 0, nor by DDIM without noise.
	Noise func(t int) gotorch.Tensor
	// Progress, if not nil, is called after every step with t and the predicted
	// x_0, which lives until it returns. Its error ends the loop.
	Progress func(t int, predXStart gotorch.Tensor) error
	// GraphCache is that of earlier batches; nil: this one has its own.
	GraphCache *GraphCache
}

func (o SampleOptions) validate(steps int) error {
	switch {
	case o.Sampler != Ancestral && o.Sampler != DDIM:
		return fmt.Errorf("sampler %d is neither Ancestral nor DDIM", o.Sampler)
	case !(o.Eta >= 0 && o.Eta <= 1):
		return fmt.Errorf("eta is %v: it must lie between 0 and 1", o.Eta)
	case o.Eta != 0 && o.Sampler != DDIM:
		return fmt.Errorf("eta is %v, but only DDIM has an eta", o.Eta)
	case o.SkipSteps < 0 || o.SkipSteps >= steps:
		return fmt.Errorf("%d steps cannot be skipped: the process has %d, and one must be left", o.SkipSteps, steps)
	case o.Noise == nil && (o.Sampler == Ancestral || o.Eta > 0):
		return fmt.Errorf("sampling with noise needs a source of it")
	}
	return nil
}

// SampleLoop turns the noise xT, [N, C, H, W], into images, step by step down
// to t = 0, without recording gradients. xT stays the caller's; the images
// belong to the caller's scope.
func (d *GaussianDiffusion) SampleLoop(ctx context.Context, denoise Denoiser, xT gotorch.Tensor, cond Cond, o SampleOptions) (gotorch.Tensor, error) {
	if err := o.validate(d.NumTimesteps()); err != nil {
		return gotorch.Tensor{}, err
	}
	c := d.pSample
	if o.Sampler == DDIM {
		if err := gotorch.Try(func() { c = d.ddimSampleCoefficients(o.Eta) }); err != nil {
			return gotorch.Tensor{}, err
		}
	}
	l := loop{name: c.op, options: sampleKind{o.Sampler, o.Eta, o.NoClipDenoised}, x: xT, cond: cond, first: d.NumTimesteps() - 1 - o.SkipSteps}
	if c.addsNoise {
		l.noise = func(t int) (noise gotorch.Tensor) {
			if t > 0 {
				noise = o.Noise(t)
			}
			return noise
		}
	}
	return d.runImageLoop(ctx, o.GraphCache, imageLoop(l, o.Progress, func(b stepBuffers, t Timesteps) (next, predXStart gotorch.Tensor) {
		return d.step(c, denoise, b.x, t, b.noise, b.cond, !o.NoClipDenoised)
	}))
}

// sampleKind are the options that change the work of a step.
type sampleKind struct {
	sampler   Sampler
	eta       float64
	unclipped bool
}

// NoiseSource draws the noise of samples. An image's noise depends on the seed
// and its own index alone, never on the batch that it is drawn in.
type NoiseSource struct {
	Device     gotorch.Device
	Seed       uint64
	Stream     uint32  // keeps this use of the seed apart from others
	FirstImage int64   // the index of the batch's first image
	Shape      []int64 // [N, C, H, W]
}

// XT returns the noise that sampling starts from.
func (s NoiseSource) XT() gotorch.Tensor { return s.draw(gotorch.PhiloxKey{Step: math.MaxUint32}) }

// At returns the noise of step t.
func (s NoiseSource) At(t int) gotorch.Tensor { return s.draw(gotorch.PhiloxKey{Step: uint32(t)}) }

func (s NoiseSource) draw(key gotorch.PhiloxKey) gotorch.Tensor {
	key.Seed, key.Stream, key.FirstSample = s.Seed, s.Stream, s.FirstImage
	return gotorch.PhiloxNormal(s.Device, gotorch.Float, key, s.Shape...)
}

// Slerp goes from the noise a to the noise b, [N, C, H, W], along a great circle
// per image: weight 0 is a, 1 is b, and what lies between has a norm like
// theirs, as a straight line would not.
func Slerp(a, b gotorch.Tensor, weight float64) gotorch.Tensor {
	mustMatch("Slerp", "b", b, a)
	n := a.Size(0)
	dot := func(x, y gotorch.Tensor) []float64 { return x.Mul(y).SumDims(false, 1, 2, 3).Float64s() }
	ab, aa, bb := dot(a, b), dot(a, a), dot(b, b)
	from, to := make([]float64, n), make([]float64, n)
	for i := range from {
		from[i], to[i] = slerpFactors(ab[i]/math.Sqrt(aa[i]*bb[i]), weight)
	}
	factor := func(v []float64) gotorch.Tensor {
		return gotorch.FromFloat64s(v, n, 1, 1, 1).To(a.Device(), gotorch.Float)
	}
	return linearCombination(factor(from), a, factor(to), b)
}

// slerpFactors returns the factors of both ends, given the cosine of the angle
// between them. Nearly parallel ends are joined by a straight line.
func slerpFactors(cosine, weight float64) (from, to float64) {
	angle := math.Acos(max(-1, min(1, cosine)))
	if math.Sin(angle) < 1e-6 || math.IsNaN(angle) {
		return 1 - weight, weight
	}
	return math.Sin((1-weight)*angle) / math.Sin(angle), math.Sin(weight*angle) / math.Sin(angle)
}
