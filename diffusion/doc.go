// Package diffusion is the mathematics of Improved Denoising Diffusion
// Probabilistic Models (Nichol & Dhariwal 2021, arXiv 2102.09672): noise
// schedules, posteriors, losses, samplers, respacing, timestep sampling and
// bits per dimension. It knows no network: a [Denoiser] stands for it.
//
// Steps are counted from 0, as in the reference implementation: t = 0 is the
// paper's first step, whose x_{t-1} is the image x_0. Images are float32
// tensors [N, C, H, W] in [-1, 1].
//
// # Where what is
//
// docs/paper.md names the function of each equation of the paper. A file each:
// schedule.go has the betas and what follows from them; gaussian.go q(x_t | x_0) and
// p(x_{t-1} | x_t); losses.go the training objectives; bpd.go the whole bound;
// sample.go Ho et al.'s sampler and ddim.go DDIM (Song et al. 2021, arXiv
// 2010.02502) and its inversion, whose factors are step_coefficients.go's and whose
// loops loop.go's; respace.go fewer steps; timestep_sampler.go importance sampling.
// A batch's steps, with the coefficients at them, are [Timesteps] (timesteps.go).
//
// # Errors and memory
//
// What works on tensors panics with a *gotorch.Error, as gotorch's operators do,
// and makes its tensors in the caller's scope. Constructors, loops and timestep
// samplers return errors; the loops keep one step's tensors at a time.
package diffusion
