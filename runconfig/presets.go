package runconfig

import (
	"fmt"
	"strings"

	"iddpm/diffusion"
	"iddpm/model"
)

// Preset is a named configuration.
type Preset struct {
	Name    string
	Summary string // one line
	Config  Config
}

// Defaults returns the configuration of the reference's default flags.
func Defaults() Config {
	return Config{
		Model: model.Config{
			ImageSize: 64, InChannels: 3, NumChannels: 128, NumResBlocks: 2,
			AttentionResolutions: []int{16, 8}, NumHeads: 4, NumHeadsUpsample: -1, NumHeadChannels: -1, UseScaleShiftNorm: true,
		},
		Diffusion: diffusion.Config{
			Steps: 1000, NoiseSchedule: diffusion.Linear, RescaleTimesteps: true, RescaleLearnedSigmas: true,
		},
		Train: Options{
			BatchSize: 1, Microbatch: -1, LR: 1e-4, EMARates: []float64{0.9999}, ScheduleSampler: "uniform",
			LogInterval: 10, SaveInterval: 10000, Precision: "auto", FP16ScaleGrowth: 1e-3, MaxSkipped: defaultMaxSkipped,
		},
	}
}

// presets are those of the built-in set, then the paper's runs (its appendix A and the
// reference's README), then the published networks of guided-diffusion (Dhariwal & Nichol
// 2021, table 11 and the README).
var presets = []struct {
	name, summary string
	change        func(*Config)
}{
	{"emoji", "built-in emoji at 32 pixels, small enough for a CPU: minutes", emoji},
	{"emoji-gpu", "built-in emoji at 64 pixels, for one GPU", emojiGPU},
	{"cifar10", "CIFAR-10, L_hybrid, cosine schedule: 500,000 steps", cifar10},
	{"cifar10-vlb", "CIFAR-10, L_vlb with importance sampling: 500,000 steps", both(cifar10, vlb)},
	{"imagenet64", "ImageNet at 64 pixels, L_hybrid, cosine schedule: 1,500,000 steps", imageNet64},
	{"imagenet64-vlb", "ImageNet at 64 pixels, L_vlb with importance sampling: 1,500,000 steps", both(imageNet64, vlb)},
	{"imagenet64-cond", "ImageNet at 64 pixels by class, 270 M parameters: 250,000 steps", imageNet64Cond},
	{"imagenet256-upsample", "ImageNet from 64 to 256 pixels by class, 280 M parameters: 500,000 steps", imageNet256Upsample},
	{"lsun-bedroom", "LSUN bedrooms at 256 pixels, linear schedule: 1,200,000 steps", lsunBedroom},
	{"adm-imagenet64", "guided-diffusion: ImageNet at 64 pixels by class, 296 M parameters", admImageNet64},
	{"adm-imagenet128", "guided-diffusion: ImageNet at 128 pixels by class, 422 M parameters", admImageNet128},
	{"adm-imagenet256", "guided-diffusion: ImageNet at 256 pixels by class, 554 M parameters", admImageNet256},
	{"adm-imagenet256-uncond", "guided-diffusion: ImageNet at 256 pixels, 553 M parameters", admImageNet256Uncond},
	{"adm-imagenet512", "guided-diffusion: ImageNet at 512 pixels by class, 559 M parameters", admImageNet512},
	{"adm-lsun", "guided-diffusion: LSUN bedrooms, cats or horses at 256 pixels, 553 M parameters", admLSUN},
	{"adm-64-256-upsampler", "guided-diffusion: ImageNet from 64 to 256 pixels by class, 312 M parameters", admUpsampler256},
	{"adm-128-512-upsampler", "guided-diffusion: ImageNet from 128 to 512 pixels by class, 309 M parameters", admUpsampler512},
}

// Presets returns all presets: those of the built-in set first, then the papers'.
func Presets() []Preset {
	all := make([]Preset, len(presets))
	for i, p := range presets {
		all[i] = Preset{Name: p.name, Summary: p.summary, Config: Defaults()}
		p.change(&all[i].Config)
		if !all[i].Config.Model.SuperRes() {
			all[i].Config.Samples.Interval = AutoInterval
		}
	}
	return all
}

// LookupPreset returns the preset of a name, or an error that lists all names.
func LookupPreset(name string) (Preset, error) {
	var names []string
	for _, p := range Presets() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Preset{}, fmt.Errorf("there is no preset %q: the presets are %s", name, strings.Join(names, ", "))
}

// both applies first, then second.
func both(first, second func(*Config)) func(*Config) {
	return func(c *Config) {
		first(c)
		second(c)
	}
}

// hybrid is the paper's L_hybrid with learned variances and the cosine schedule, T = 4000.
func hybrid(c *Config) {
	learnSigma(c)
	c.Diffusion.Steps, c.Diffusion.NoiseSchedule = 4000, diffusion.Cosine
	c.Train.BatchSize = 128
}

func learnSigma(c *Config) { c.Model.LearnSigma, c.Diffusion.LearnSigma = true, true }

// velocity is the objective of the built-in set: on the cosine schedule a small network that predicts v has
// better samples than one that predicts epsilon (docs/study.md).
func velocity(c *Config) {
	learnSigma(c)
	c.Diffusion.NoiseSchedule, c.Diffusion.Predict = diffusion.Cosine, "v"
}

func vlb(c *Config) {
	c.Diffusion.UseKL = true
	c.Train.ScheduleSampler = "loss-second-moment"
}

func cifar10(c *Config) {
	hybrid(c)
	c.Model.ImageSize, c.Model.NumResBlocks, c.Model.Dropout = 32, 3, 0.3
	c.Train.Steps = 500_000
}

func imageNet64(c *Config) {
	hybrid(c)
	c.Model.NumResBlocks = 3
	c.Train.Steps = 1_500_000
}

func imageNet64Cond(c *Config) {
	hybrid(c)
	c.Model.NumChannels, c.Model.NumResBlocks = 192, 3
	c.Model.ClassCond, c.Model.NumClasses = true, 1000
	c.Diffusion.RescaleLearnedSigmas, c.Diffusion.RescaleTimesteps = false, false
	c.Train.BatchSize, c.Train.LR, c.Train.Steps = 2048, 3e-4, 250_000
}

func imageNet256Upsample(c *Config) {
	imageNet64Cond(c)
	c.Model.ImageSize, c.Model.SmallSize, c.Model.NumResBlocks = 256, 64, 2
	c.Diffusion.NoiseSchedule = diffusion.Linear
	c.Train.BatchSize, c.Train.Steps = 256, 500_000
}

func lsunBedroom(c *Config) {
	learnSigma(c)
	c.Model.ImageSize, c.Model.NumHeads, c.Model.AttentionResolutions = 256, 1, []int{16}
	c.Model.UseScaleShiftNorm = false
	c.Diffusion.RescaleLearnedSigmas, c.Diffusion.RescaleTimesteps = false, false
	c.Train.BatchSize, c.Train.Steps = 128, 1_200_000
}

func emoji(c *Config) {
	velocity(c)
	c.Model.ImageSize, c.Model.NumChannels, c.Model.NumResBlocks = 32, 32, 1
	c.Model.ChannelMult, c.Model.AttentionResolutions = []float64{1, 2, 2}, []int{8}
	c.Train.BatchSize, c.Train.LR, c.Train.WarmupSteps = 32, 1e-3, 100
	c.Train.EMARates = []float64{0.995}
	c.Train.Steps, c.Train.SaveInterval = 2000, 500
}

func emojiGPU(c *Config) {
	velocity(c)
	c.Model.ImageSize, c.Model.Dropout = 64, 0.1
	c.Train.BatchSize, c.Train.LR, c.Train.WarmupSteps = 128, 2e-4, 500
	c.Train.EMARates = []float64{0.999}
	c.Train.Steps, c.Train.SaveInterval = 20_000, 2000
}

// adm is what the networks of guided-diffusion have in common: residual blocks that resample, 64
// channels per attention head, T = 1000, and L_hybrid with unscaled timesteps.
func adm(c *Config) {
	learnSigma(c)
	c.Model.NumChannels, c.Model.ResBlockUpDown, c.Model.NumHeadChannels = 256, true, 64
	c.Model.AttentionResolutions = []int{32, 16, 8}
	c.Diffusion.RescaleLearnedSigmas, c.Diffusion.RescaleTimesteps = false, false
	c.Train.BatchSize = 256
}

func imageNetClasses(c *Config) { c.Model.ClassCond, c.Model.NumClasses = true, 1000 }

func admImageNet64(c *Config) {
	adm(c)
	imageNetClasses(c)
	c.Model.ImageSize, c.Model.NumChannels, c.Model.NumResBlocks, c.Model.Dropout = 64, 192, 3, 0.1
	c.Model.NewAttentionOrder = true
	c.Diffusion.NoiseSchedule = diffusion.Cosine
	c.Train.BatchSize, c.Train.LR = 2048, 3e-4
}

func admImageNet128(c *Config) {
	adm(c)
	imageNetClasses(c)
	c.Model.ImageSize, c.Model.NumHeadChannels, c.Model.NumHeads = 128, -1, 4
}

func admImageNet256Uncond(c *Config) {
	adm(c)
	c.Model.ImageSize = 256
}

func admImageNet256(c *Config) {
	admImageNet256Uncond(c)
	imageNetClasses(c)
}

func admImageNet512(c *Config) {
	admImageNet256(c)
	c.Model.ImageSize = 512
}

func admLSUN(c *Config) {
	admImageNet256Uncond(c)
	c.Model.Dropout = 0.1
}

func admUpsampler256(c *Config) {
	admImageNet256(c)
	c.Model.SmallSize, c.Model.NumChannels = 64, 192
	c.Model.NumHeadChannels, c.Model.NumHeads = -1, 4
}

func admUpsampler512(c *Config) {
	admImageNet512(c)
	c.Model.SmallSize, c.Model.NumChannels = 128, 192
	c.Model.AttentionResolutions = []int{32, 16}
}
