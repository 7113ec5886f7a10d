// Package figure draws the figures of Improved Denoising Diffusion Probabilistic
// Models (Nichol & Dhariwal 2021): each as a PNG, an SVG, and a CSV of the
// numbers behind it.
//
//	[VarianceRatio]     figure 1, the posterior variance over beta
//	[Terms]             figure 2, the terms of the variational bound
//	[Noising]           figure 3, an image under two noise schedules
//	[SkipSteps]         figure 4, leaving out the start of the reverse process
//	[AlphaBar]          figure 5, the signal left by two noise schedules
//	[LearningCurves]    figure 6, objectives compared along training
//	[GradientNoise]     figure 7, gradient noise scales along training
//	[SamplingSteps]     figure 8, samples against the number of sampling steps
//	[FewSteps]          the distance of samples in few steps to those of all steps
//	[CompareSchedules]  four quantities of any schedules
//
// Figures count steps from 1 to T, as the paper does.
package figure
