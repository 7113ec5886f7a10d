package diffusion

import (
	"fmt"
	"math"

	"github.com/wangkuiyi/gotorch"
)

// Inpainting keeps the known pixels of images and generates the others: RePaint (Lugmayr et al. 2022,
// arXiv 2201.09865), algorithm 1 with the jumps of its section 4.2, by any sampler. After every step the
// known pixels are replaced by the given ones with the noise of that timestep. So that the generated
// ones come to fit them, parts of the process are noised again and repeated.
type Inpainting struct {
	Known       gotorch.Tensor             // [N, C, H, W], in [-1, 1]
	Mask        gotorch.Tensor             // [N, 1, H, W]: 1 where a pixel is known, else 0
	Resamplings int                        // how often each part of the process runs; 0: once
	Jump        int                        // timesteps of a part; 0: 1, as in algorithm 1
	Noise       func(i int) gotorch.Tensor // the i-th noise, [N, C, H, W]: all are independent
}

func (p *Inpainting) validate(x gotorch.Tensor) error {
	switch {
	case p == nil:
		return nil
	case p.Resamplings < 0 || p.Jump < 0:
		return fmt.Errorf("%d resamplings of %d timesteps: neither may be negative", p.Resamplings, p.Jump)
	case p.Noise == nil:
		return fmt.Errorf("inpainting needs noise: set Inpainting.Noise")
	}
	return gotorch.Try(func() { mustMatch("Inpainting", "Known", p.Known, x) })
}

// Steps returns the number of steps of a process of n timesteps.
func (p *Inpainting) Steps(n int) int { return len(p.path(n)) }

// path returns the timesteps in order. A step from t leaves images at the noise of t-1, or without noise;
// where that is a multiple of Jump above 0, they are noised by Jump timesteps and go down again.
func (p *Inpainting) path(n int) (path []int) {
	jump, done := max(p.Jump, 1), map[int]int{}
	for level := n; level > 0; {
		level--
		path = append(path, level)
		if level > 0 && level%jump == 0 && level+jump <= n && done[level] < p.Resamplings-1 {
			done[level]++
			level += jump
		}
	}
	return path
}

// inpaint makes l a loop that inpaints. noisy reports whether its steps add noise.
func (d *GaussianDiffusion) inpaint(l loop, p *Inpainting, noisy bool) loop {
	l.path = p.path(l.first + 1)
	at := 0 // position in the path; each has three noises
	if noisy {
		l.noise = exceptLast(func(int) gotorch.Tensor { return p.Noise(3 * at) })
	}
	progress := l.onStep
	l.onStep = func(b stepBuffers, t int) error {
		x := p.combine(d, b.x, t, at)
		if at++; at < len(l.path) && l.path[at] >= t {
			x = d.renoise(x, t-1, l.path[at], p.Noise(3*at-1))
		}
		b.x.CopyI(x)
		if progress == nil {
			return nil
		}
		return progress(b, t)
	}
	return l
}

// combine replaces the known pixels after the step from t: equation 8 of RePaint.
func (p *Inpainting) combine(d *GaussianDiffusion, x gotorch.Tensor, t, at int) gotorch.Tensor {
	known := p.Known
	if t > 0 {
		known = d.QSample(known, d.AtStep(t-1, x.Size(0)), p.Noise(3*at+1))
	}
	return known.Mul(p.Mask).AddI(x.Mul(p.Mask.Neg().AddScalarI(1)), 1)
}

// renoise adds noise to x_t of one timestep up to that of another: q(x_to | x_from).
func (d *GaussianDiffusion) renoise(x gotorch.Tensor, from, to int, noise gotorch.Tensor) gotorch.Tensor {
	kept := d.AlphasCumprod[to] / d.AlphasCumprod[from]
	return x.MulScalar(math.Sqrt(kept)).AddI(noise.MulScalar(math.Sqrt(1-kept)), 1)
}
