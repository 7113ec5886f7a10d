package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/wangkuiyi/gotorch"
)

// PSample samples x_{t-1} from p(x_{t-1} | x_t), and also returns the predicted x_0
// (Ho et al. 2020, algorithm 2). All images are [N, C, H, W]. No noise is added at
// t = 0; noise may be undefined if all t are 0. No gradients are tracked.
func (d *GaussianDiffusion) PSample(denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool) (sample, predXStart gotorch.Tensor) {
	return d.step(d.pSample, denoise, x, t, noise, cond, clipDenoised)
}

// GuidedPSample is PSample with classifier guidance.
func (d *GaussianDiffusion) GuidedPSample(g ClassifierGuidance, denoise Denoiser, x gotorch.Tensor, t Timesteps, noise gotorch.Tensor, cond Cond, clipDenoised bool) (sample, predXStart gotorch.Tensor) {
	return d.step(d.pSample.guided(&g), denoise, x, t, noise, cond, clipDenoised)
}

// SampleOptions are the options of SampleLoop. The zero value is ancestral sampling,
// which requires Noise.
type SampleOptions struct {
	Sampler        Sampler
	Eta            float64 // DDIM's noise scale: 0 (deterministic) to 1 (the posterior's variance)
	NoClipDenoised bool    // do not clip the predicted x_0 to [-1, 1]
	// SkipSteps omits that many timesteps at the start of the reverse process (the
	// noisiest), as in the paper's figure 4.
	SkipSteps int
	// Guidance, if not nil, guides the network. A guide must fit the GraphCache as the network does.
	Guidance *Guidance
	// Classifier, if not nil, conditions the samples by a classifier, which must fit the
	// GraphCache, too.
	Classifier *ClassifierGuidance
	// Inpainting, if not nil, keeps known pixels.
	Inpainting *Inpainting
	// Noise returns the noise of timestep t, [N, C, H, W], such as NoiseSource.At. It is
	// not called at t = 0, nor by a sampler that adds none.
	Noise func(t int) gotorch.Tensor
	// Progress, if not nil, is called after every timestep with t and the predicted
	// x_0, which is valid until it returns. Its error ends the loop.
	Progress func(t int, predXStart gotorch.Tensor) error
	// GraphCache is shared with earlier batches; nil: one for this call.
	GraphCache *GraphCache
}

func (o SampleOptions) validate(steps int, cond Cond) error {
	switch {
	case o.Sampler < 0 || o.Sampler >= numSamplers:
		return fmt.Errorf("unknown %s", o.Sampler)
	case !(o.Eta >= 0 && o.Eta <= 1):
		return fmt.Errorf("eta is %v: it must be between 0 and 1", o.Eta)
	case o.Eta != 0 && !o.Sampler.definition().takesEta:
		return fmt.Errorf("eta is %v, but only DDIM uses eta: set it to 0, or use DDIM", o.Eta)
	case o.SkipSteps < 0 || o.SkipSteps >= steps:
		return fmt.Errorf("cannot skip %d of %d steps: at least one must remain", o.SkipSteps, steps)
	case o.Noise == nil && o.Inpainting == nil && !o.Sampler.Deterministic(o.Eta):
		return fmt.Errorf("sampling by %s with eta %v needs noise: set SampleOptions.Noise", o.Sampler, o.Eta)
	}
	return errors.Join(o.Guidance.validate(cond), o.Classifier.validate(cond))
}

// SampleLoop samples images from the noise xT, [N, C, H, W], down to t = 0, without
// gradients. xT is not modified; the images belong to the caller's scope.
func (d *GaussianDiffusion) SampleLoop(ctx context.Context, denoise Denoiser, xT gotorch.Tensor, cond Cond, o SampleOptions) (gotorch.Tensor, error) {
	if err := errors.Join(o.validate(d.NumTimesteps(), cond), o.Inpainting.validate(xT)); err != nil {
		return gotorch.Tensor{}, err
	}
	var c stepCoefficients
	if err := gotorch.Try(func() { c = d.samplerCoefficients(o.Sampler, o.Eta).guided(o.Classifier) }); err != nil {
		return gotorch.Tensor{}, err
	}
	l := loop{name: o.Sampler.String(), options: o.kind(), x: xT, cond: cond, first: d.NumTimesteps() - 1 - o.SkipSteps}
	l.keepsHistory = c.correction.Defined() && !c.lookahead
	if c.addsNoise {
		l.noise = exceptLast(o.Noise)
	}
	l.variant = c.variants(o.guided(d))
	denoiser := o.denoiser(denoise)
	l = imageLoop(l, o.Progress, func(b stepBuffers, t Timesteps, variant int) (next, predXStart gotorch.Tensor) {
		return d.samplerStep(c, denoiser, b, t, samplerVariant(variant), !o.NoClipDenoised)
	})
	if o.Inpainting != nil {
		l = d.inpaint(l, o.Inpainting, c.addsNoise)
	}
	return d.runImageLoop(ctx, o.GraphCache, l)
}

// guided returns the function that says at which timesteps the network is guided; nil: at none.
func (o SampleOptions) guided(d *GaussianDiffusion) func(t int) bool {
	if o.Guidance == nil {
		return nil
	}
	return func(t int) bool { return o.Guidance.guides(d.Schedule, t) }
}

// denoiser returns the function that chooses the network with or without guidance.
func (o SampleOptions) denoiser(denoise Denoiser) func(guided bool) Denoiser {
	with := denoise
	if o.Guidance != nil {
		with = o.Guidance.Denoiser(denoise)
	}
	return func(guided bool) Denoiser {
		if guided {
			return with
		}
		return denoise
	}
}

// sampleKind are the options that change the operators of a step.
type sampleKind struct {
	sampler        Sampler
	eta            float64
	noClipDenoised bool

	guided, autoguided bool
	scale              float64
	nullClass          int64
	classifierScale    float64
}

func (o SampleOptions) kind() sampleKind {
	k := sampleKind{sampler: o.Sampler, eta: o.Eta, noClipDenoised: o.NoClipDenoised}
	if g := o.Guidance; g != nil {
		k.guided, k.autoguided, k.scale, k.nullClass = true, g.Guide != nil, g.Scale, g.NullClass
	}
	if o.Classifier != nil {
		k.classifierScale = o.Classifier.Scale
	}
	return k
}

// NoiseSource draws the noise of samples. An image's noise depends on the seed, the
// stream and its index only, not on its batch.
type NoiseSource struct {
	Device     gotorch.Device
	Seed       uint64
	Stream     uint32  // separates uses of the same seed
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

// Slerp is spherical linear interpolation from the noise a to the noise b, [N, C, H,
// W], per image: weight 0 is a, 1 is b. Unlike linear interpolation it preserves the
// norm.
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
	return factor(from).Mul(a).Addcmul(factor(to), b, 1)
}

// slerpFactors returns the factors of both ends, given the cosine of the angle between
// them. Nearly parallel ends are interpolated linearly.
func slerpFactors(cosine, weight float64) (from, to float64) {
	angle := math.Acos(max(-1, min(1, cosine)))
	if math.Sin(angle) < 1e-6 || math.IsNaN(angle) {
		return 1 - weight, weight
	}
	return math.Sin((1-weight)*angle) / math.Sin(angle), math.Sin(weight*angle) / math.Sin(angle)
}
