package madeup

import (
	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/runconfig"
)

// Run returns the configuration of a run on the built-in images whose steps take a few milliseconds.
func Run() runconfig.Config {
	return runconfig.Config{
		Model: model.Config{
			ImageSize: 8, InChannels: 3, NumChannels: 32, NumResBlocks: 1, ChannelMult: []float64{1, 1}, NumHeads: 2,
			AttentionResolutions: []int{4}, LearnSigma: true, UseScaleShiftNorm: true,
		},
		Diffusion: diffusion.Config{Steps: 40, NoiseSchedule: "cosine", LearnSigma: true, RescaleTimesteps: true, RescaleLearnedSigmas: true},
		Train: runconfig.Options{
			BatchSize: 4, LR: 1e-3, EMARates: []float64{0.9}, ScheduleSampler: "uniform", Steps: 6, LogInterval: 2,
			SaveInterval: 1000, Precision: "fp32", Seed: 3, Threads: 1,
		},
	}
}
