// Package diffusion is the mathematics of Improved Denoising Diffusion
// Probabilistic Models (Nichol & Dhariwal 2021, arXiv 2102.09672): noise
// schedules, posteriors, losses, samplers, respacing, timestep sampling and
// bits per dimension. It knows no network: a [Denoiser] stands for it.
//
// Steps are counted from 0, as in the reference implementation: t = 0 is the
// paper's first step, whose x_{t-1} is the picture x_0. Pictures are float32
// tensors [N, C, H, W] in [-1, 1].
//
// # Where each equation is
//
//	Eq.    What it says                                  Where
//	1, 2   q(x_t | x_{t-1}), and its variances beta_t    NamedBetas
//	3      p(x_{t-1} | x_t), mean and variance           GaussianDiffusion.PMeanVariance
//	4      L_vlb = L_0 + ... + L_T                       GaussianDiffusion.CalcBPD
//	5      L_0, the discretized decoder                  DiscretizedGaussianLogLikelihood
//	6      L_{t-1}, a KL divergence                      NormalKL
//	7      L_T, the prior's term                         GaussianDiffusion.PriorBPD
//	8      q(x_t | x_0)                                  GaussianDiffusion.QMeanVariance
//	9      x_t from x_0 and noise                        GaussianDiffusion.QSample
//	10-12  q(x_{t-1} | x_t, x_0)                         Schedule, GaussianDiffusion.QPosteriorMeanVariance
//	13     mean from epsilon                             GaussianDiffusion.PMeanVariance, through x_0
//	14     L_simple                                      GaussianDiffusion.TrainingLosses, MSE
//	15     learned variance between betaTilde and beta   LearnedRange
//	16     L_hybrid                                      GaussianDiffusion.TrainingLosses, RescaledMSE
//	17     the cosine schedule                           NamedBetas, Cosine
//	18     importance-sampled L_vlb                      LossSecondMoment
//	19     betas of a subsequence of steps               SpaceTimesteps, RespaceBetas
//
// Algorithm 2 of Ho et al. 2020 is [GaussianDiffusion.PSample]; DDIM (Song et
// al. 2021, arXiv 2010.02502, equation 12) is [GaussianDiffusion.DDIMSample],
// and its inversion [GaussianDiffusion.DDIMReverseSample].
//
// # Errors and memory
//
// What works on tensors panics with a *gotorch.Error, as gotorch's operators do,
// and makes its tensors in the caller's scope. Constructors, loops and timestep
// samplers return errors; the loops keep one step's tensors at a time.
package diffusion
