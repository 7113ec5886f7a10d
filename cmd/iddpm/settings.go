package main

import (
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"iddpm/model"
	"iddpm/train"
)

// The categories of flags in help.
const (
	categoryData       = "Data"
	categoryModel      = "Model"
	categoryDiffusion  = "Diffusion"
	categoryTraining   = "Training"
	categoryEvaluation = "Evaluation"
	categorySampling   = "Sampling"
	categoryFigure     = "Figure"
	categoryRun        = "Run"
)

func dataOptions(c *train.Config) []option {
	d, m := &c.Data, &c.Model
	return []option{
		{name: "data-dir", category: categoryData, local: true, value: &d.Dir, standard: "the built-in emoji",
			usage: "train on the pictures in `DIR`: a folder, at any depth, or a zip; jpg, png, gif, webp, bmp"},
		{name: "class-cond", category: categoryData, timed: true, value: &m.ClassCond,
			usage: "learn a class per picture: what stands before the first _ of its file name"},
		{name: "num-classes", category: categoryData, timed: true, value: &m.NumClasses,
			usage: "room for `N` classes (0: as many as the pictures have; the reference has 1000)"},
		{name: "labels", category: categoryData, local: true, value: &d.Labels, standard: "what the pictures offer",
			usage: "take classes from `WHERE`: prefix (of file names), folder, source (the data set's own), or a .csv file of lines NAME,CLASS"},
		{name: "random-flip", category: categoryData, value: &d.Flip,
			usage: "mirror every other picture, by chance"},
		{name: "random-crop", category: categoryData, value: &d.RandomCrop,
			usage: "crop anywhere, from a slightly larger picture, not from the centre"},
		{name: "exif-orientation", category: categoryData, value: &d.Orient,
			usage: "turn photographs upright as their EXIF says; the reference does not"},
		{name: "jpeg-decoder", category: categoryData, value: &d.JPEGDecoder, standard: "auto",
			usage: "read jpeg files by `NAME`: turbo, libjpeg-turbo; go, whose pixels differ a little from the reference's; or auto: turbo where it is installed"},
		{name: "background", category: categoryData, value: &d.Background, standard: "white",
			usage: "put transparent pictures on `COLOUR`: a name, or #rrggbb"},
		{name: "max-bad-images", category: categoryData, value: &d.MaxBadImages,
			usage: "leave out up to `N` pictures that cannot be read, and name them"},
		{name: "cache", category: categoryData, value: &d.Cache, standard: "auto",
			usage: "keep decoded pictures in memory if all fit in `SIZE`, such as 8GiB; auto: in half of what is free; or none"},
	}
}

func modelOptions(c *train.Config) []option {
	m := &c.Model
	return []option{
		{name: "image-size", category: categoryModel, value: &m.ImageSize, usage: "pictures of `N` x N pixels"},
		{name: "num-channels", category: categoryModel, value: &m.NumChannels, usage: "width of the first level: `N` channels, a multiple of 32"},
		{name: "num-res-blocks", category: categoryModel, value: &m.NumResBlocks, usage: "`N` residual blocks per level"},
		{name: "channel-mult", category: categoryModel, value: &m.ChannelMult, standard: "by image size",
			usage: "width of each level over that of the first, as in `1,2,2`; each level halves the picture"},
		{name: "attention-resolutions", category: categoryModel, value: &m.AttentionResolutions, usage: "attend where pictures are `N,N` pixels wide"},
		{name: "num-heads", category: categoryModel, value: &m.NumHeads, usage: "`N` attention heads"},
		{name: "num-heads-upsample", category: categoryModel, value: &m.NumHeadsUpsample, usage: "`N` attention heads on the way up (-1: as on the way down)"},
		{name: "dropout", category: categoryModel, value: &m.Dropout, usage: "drop activations with probability `P`"},
		{name: "learn-sigma", category: categoryModel, value: &m.LearnSigma, usage: "learn the variances too (the paper's L_hybrid)"},
		{name: "super-res", category: categoryModel, value: new(m.SuperRes()), usage: "enlarge pictures: the network sees them at --small-size too, and fills in what is missing"},
		{name: "small-size", category: categoryModel, value: &m.SmallSize, standard: "64 with --super-res", usage: "enlarge pictures of `N` x N pixels"},
		{name: "large-size", category: categoryModel, value: &m.ImageSize, standard: "256 with --super-res", usage: "the size of enlarged pictures, `N` x N: --image-size, as super_res_train.py of the reference calls it"},
		{name: "use-checkpoint", category: categoryModel, value: &m.UseCheckpoint, usage: "save memory: compute activations again on the way back"},
		{name: "use-scale-shift-norm", category: categoryModel, value: &m.UseScaleShiftNorm, usage: "let the timestep scale the norms, not only shift them"},
	}
}

func diffusionOptions(c *train.Config) []option {
	d := &c.Diffusion
	return []option{
		{name: "diffusion-steps", category: categoryDiffusion, value: &d.Steps, usage: "noise pictures in `T` steps"},
		{name: "noise-schedule", category: categoryDiffusion, value: &d.NoiseSchedule, usage: "how noise grows, `NAME`: linear or cosine"},
		{name: "timestep-respacing", category: categoryDiffusion, value: &d.TimestepRespacing, standard: "all",
			usage: "keep only these steps, `SPEC`: 250, or 10,15,20 per section, or ddim50"},
		{name: "sigma-small", category: categoryDiffusion, value: &d.SigmaSmall, usage: "without learned variances, take the smaller ones"},
		{name: "use-kl", category: categoryDiffusion, value: &d.UseKL, usage: "train on the variational bound alone (the paper's L_vlb)"},
		{name: "predict-xstart", category: categoryDiffusion, value: &d.PredictXStart, usage: "predict the picture, not the noise"},
		{name: "rescale-timesteps", category: categoryDiffusion, value: &d.RescaleTimesteps, usage: "show the network timesteps out of 1000"},
		{name: "rescale-learned-sigmas", category: categoryDiffusion, value: &d.RescaleLearnedSigmas, usage: "weigh the bound by 1/1000 in L_hybrid"},
	}
}

func trainingOptions(c *train.Config) []option {
	o := &c.Train
	return []option{
		{name: "steps", category: categoryTraining, value: &o.Steps, usage: "stop after `N` steps in all (0: at lr-anneal-steps, or when interrupted)"},
		{name: "batch-size", category: categoryTraining, timed: true, value: &o.BatchSize, usage: "`N` pictures per step, of all processes together"},
		{name: "microbatch", category: categoryTraining, timed: true, value: &o.Microbatch, usage: "save memory: `N` pictures at a time, same gradient (-1: the whole batch)"},
		{name: "lr", category: categoryTraining, timed: true, value: &o.LR, usage: "learning `RATE` of AdamW"},
		{name: "weight-decay", category: categoryTraining, timed: true, value: &o.WeightDecay, usage: "decoupled weight decay, `W`"},
		{name: "lr-anneal-steps", category: categoryTraining, value: &o.LRAnnealSteps, usage: "let the rate fall to 0 over `N` steps (0: it stays)"},
		{name: "warmup-steps", category: categoryTraining, value: &o.WarmupSteps, usage: "let the rate rise over the first `N` steps"},
		{name: "ema-rate", category: categoryTraining, timed: true, value: &o.EMARates, usage: "keep averages of the weights with these `RATES`, comma-separated"},
		{name: "grad-clip", category: categoryTraining, timed: true, value: &o.GradClip, usage: "clip the gradient's norm to `NORM` (0: never)"},
		{name: "schedule-sampler", category: categoryTraining, timed: true, value: &o.ScheduleSampler, usage: "draw timesteps by `NAME`: uniform or loss-second-moment"},
		{name: "log-interval", category: categoryTraining, value: &o.LogInterval, usage: "write metrics every `N` steps"},
		{name: "gradient-noise", category: categoryTraining, value: &o.GradientNoise, usage: "record the gradient noise scale, by comparing microbatches with the batch"},
		{name: "save-interval", category: categoryTraining, value: &o.SaveInterval, usage: "save a checkpoint every `N` steps"},
		{name: "keep", category: categoryTraining, value: &o.Keep, usage: "keep only the newest `N` checkpoints (0: all); one goes when a newer one is safe"},
		{name: "keep-every", category: categoryTraining, value: &o.KeepEvery, usage: "with --keep, keep those at multiples of step `M` too"},
		{name: "max-skipped-steps", category: categoryTraining, value: &o.MaxSkipped, usage: "after `N` steps in a row whose loss or gradient is not finite, go back to the last checkpoint, once"},
		{name: "fp16-scale-growth", category: categoryTraining, timed: true, value: &o.FP16ScaleGrowth, usage: "with fp16, let log2 of the loss's factor grow by `N` per step"},
		{name: "init-from", category: categoryTraining, value: &o.InitFrom, usage: "begin with the weights of `CKPT`"},
		{name: "reinit-mismatched", category: categoryTraining, value: &o.ReinitMismatched, usage: "with --init-from, begin layers afresh that do not fit"},
		{name: "seed", category: categoryTraining, timed: true, value: &o.Seed, usage: "`N` that decides weights, order, timesteps and noise"},
		timed(precisionOption(&o.Precision, categoryTraining)),
		{name: "no-cuda-graphs", category: categoryTraining, timed: true, value: &o.NoCUDAGraphs, usage: "give a GPU every step operator by operator: slower, in less memory while pictures are evaluated"},
		{name: "deterministic", category: categoryTraining, timed: true, value: &o.Deterministic, usage: "on CUDA too, the same bits at every run"},
		timed(threadsOption(&o.Threads, categoryTraining)),
	}
}

func evalOptions(c *train.Config) []option {
	e := &c.Eval
	return []option{
		{name: "eval-interval", category: categoryEvaluation, value: &e.Interval, usage: "record bits/dim on held-out pictures every `N` steps (0: never)"},
		{name: "hold-out", category: categoryEvaluation, value: &e.HoldOut, usage: "keep a `SHARE` of the pictures from training, such as 0.05, to evaluate on"},
		{name: "eval-data", category: categoryEvaluation, local: true, value: &e.Dir, standard: "those of --hold-out", usage: "evaluate on the pictures in `DIR`"},
		{name: "eval-pictures", category: categoryEvaluation, value: &e.Pictures, standard: "64", usage: "evaluate on `N` pictures, spread over those there are"},
		{name: "eval-respacing", category: categoryEvaluation, value: &e.Respacing, standard: "as trained", usage: "evaluate the respaced process `SPEC`, such as 100: faster, and another bound"},
	}
}

// configOptions returns the options of a whole configuration.
func configOptions(c *train.Config) []option {
	options := dataOptions(c)
	options = append(options, modelOptions(c)...)
	options = append(options, diffusionOptions(c)...)
	options = append(options, trainingOptions(c)...)
	return append(options, evalOptions(c)...)
}

// networkOptions are those that say what network and diffusion a file of bare
// weights belongs to.
func networkOptions(c *train.Config) []option {
	options := []option{}
	for _, o := range dataOptions(c) {
		if o.name == "class-cond" || o.name == "num-classes" {
			o.category = categoryModel
			options = append(options, o)
		}
	}
	return append(append(options, modelOptions(c)...), diffusionOptions(c)...)
}

// configure changes a configuration as the given flags say.
func configure(c *cli.Context, config *train.Config, options []option) error {
	was := config.Model.SuperRes()
	err := errors.Join(apply(c, options), superRes(c, &config.Model, was))
	config.Diffusion.LearnSigma = config.Model.LearnSigma
	return err
}

// superRes fills in what the flags of super-resolution leave out: any one of them
// asks for it. was says whether the network had it before.
func superRes(c *cli.Context, m *model.Config, was bool) error {
	asked := m.SuperRes() || c.IsSet("large-size")
	if err := apply(c, []option{{name: "super-res", value: &asked}}); err != nil || !asked {
		if m.SuperRes() {
			return errors.Join(err, wrongUse("--super-res False: but pictures of %d pixels are to be enlarged", m.SmallSize))
		}
		return err
	}
	if c.IsSet("image-size") && c.IsSet("large-size") && c.String("image-size") != c.String("large-size") {
		return wrongUse("--image-size %s and --large-size %s are two names for one size", c.String("image-size"), c.String("large-size"))
	}
	if m.SmallSize == 0 {
		m.SmallSize = 64
	}
	if !was && !c.IsSet("image-size") && !c.IsSet("large-size") {
		m.ImageSize = 256
	}
	return nil
}

func presetOption(name *string) option {
	return option{name: "preset", category: categoryRun, value: name,
		usage: "begin with the settings of preset `NAME`: " + presetNames()}
}

func configOption() option {
	return option{name: "config", category: categoryRun, value: new(string), usage: "read settings from YAML `FILE`, whose keys are flags' names"}
}

// presetNames lists the presets.
func presetNames() string {
	var names []string
	for _, p := range train.Presets() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// baseConfig returns the configuration of a preset, or the reference's if none
// is named.
func baseConfig(preset string) (train.Config, error) {
	if preset == "" {
		return train.Defaults(), nil
	}
	p, err := train.LookupPreset(preset)
	if err != nil {
		return p.Config, wrongUse("--preset: %w", err)
	}
	return p.Config, nil
}

// The flags that several commands have follow, each with one text. Where help lists
// them depends on the command.

func jsonOption(asked *bool) option {
	return option{name: "json", category: categoryRun, value: asked, usage: "print the result as one JSON object"}
}

func splitOption(split *string) option {
	return option{name: "split", category: categoryData, value: split, usage: "of CIFAR and the like, take the pictures of `SPLIT`: train or test"}
}

func emaOption(rate *string, category string) option {
	return option{name: "ema", category: category, value: rate, standard: "the highest rate", usage: "take the averaged weights of this `RATE`, or none: those of the last step"}
}

func precisionOption(precision *string, category string) option {
	return option{name: "precision", category: category, value: precision, usage: "compute in `TYPE`: fp32, tf32, bf16, fp16, or auto: bf16 where the hardware has it"}
}

func threadsOption(threads *int, category string) option {
	return option{name: "threads", category: category, value: threads, usage: "use `N` threads of the CPU in each process (0: one per core, or its share of them)"}
}
