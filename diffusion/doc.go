// Package diffusion is the mathematics of Improved Denoising Diffusion
// Probabilistic Models (Nichol & Dhariwal 2021, arXiv 2102.09672): noise
// schedules, posteriors, losses, samplers, respacing, timestep sampling and
// bits per dimension. It does not depend on the network: callers pass a [Denoiser].
//
// Timesteps count from 0, as in the reference implementation: t = 0 is the
// paper's first step, whose x_{t-1} is the image x_0. Images are float32
// tensors [N, C, H, W] in [-1, 1].
//
// # Files
//
// docs/paper.md names the function of each equation of the paper.
//
//	config.go             the settings of a process, and a process of them
//	noise_schedules.go    the betas of named schedules
//	schedule.go           the quantities derived from betas
//	coefficients.go       the table of coefficients, functions of t
//	parametrization.go    how x_0, mean, log variance and target follow from the network's output
//	denoiser.go           [Denoiser]: the network, and what it is trained for
//	gaussian.go           [GaussianDiffusion]: q(x_t | x_0) and p(x_{t-1} | x_t)
//	losses.go             training objectives
//	loss_weight.go        weights of L_simple by timestep
//	bpd.go                the variational bound, all terms; bpd_sum.go adds it up over batches
//	sample.go             the sampling loop, and ancestral sampling (Ho et al. 2020)
//	sampler.go            the samplers: first order, DPM-Solver++(2M), Heun; sampler_step.go runs their steps
//	inpaint.go            RePaint: sampling with known pixels
//	guidance.go           guidance by classes or a weaker network, classifier_guidance.go by a classifier's gradient
//	ddim.go               DDIM and its inversion (Song et al. 2021, arXiv 2010.02502)
//	step_coefficients.go  the coefficients of the fused sampler steps
//	loop.go               loops over timesteps; graph_cache.go runs them, as CUDA graphs
//	respace.go            fewer sampling steps, spacing.go those that are even in log-SNR, or trimmed
//	timestep_sampler.go   importance sampling of t
//	timesteps.go          [Timesteps]: the timesteps of a batch and their coefficients
//
// No two files use each other.
//
// # Errors and memory
//
// Functions on tensors panic with a *gotorch.Error, as gotorch's operators do,
// and create their tensors in the caller's scope. Constructors, loops and timestep
// samplers return errors. A loop holds the tensors of one step at a time.
package diffusion
