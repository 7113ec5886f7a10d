package main

import (
	"errors"
	"slices"
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
			usage: "train on the images in `DIR`: a folder at any depth, a zip or an archive; jpg, png, gif, webp, bmp"},
		{name: "class-cond", category: categoryData, timed: true, value: &m.ClassCond,
			usage: "class-conditional model: by default classes are the data set's own labels, prefixes of file names before the first _, or folders (see --labels)"},
		{name: "num-classes", category: categoryData, timed: true, value: &m.NumClasses,
			usage: "number of classes `N` in the label embedding (0: as many as the images have; the reference has 1000)"},
		{name: "labels", category: categoryData, local: true, value: &d.Labels, standard: "what the images offer",
			usage: "read class labels from `WHERE`: prefix (of file names), folder, source (the data set's own), or a .csv, .tsv or .txt file of lines NAME,CLASS"},
		{name: "random-flip", category: categoryData, value: &d.Flip,
			usage: "augmentation: flip each image horizontally with probability 1/2"},
		{name: "random-crop", category: categoryData, value: &d.RandomCrop,
			usage: "augmentation: random crop of a slightly larger resize, instead of the center crop"},
		{name: "exif-orientation", category: categoryData, value: &d.Orient,
			usage: "apply the EXIF orientation of photographs; the reference does not"},
		{name: "jpeg-decoder", category: categoryData, value: &d.JPEGDecoder, standard: "auto",
			usage: "JPEG decoder `NAME`: turbo (libjpeg-turbo), go (its pixels differ slightly from the reference's), or auto: turbo where it is installed"},
		{name: "background", category: categoryData, value: &d.Background, standard: "white",
			usage: "composite transparent images over `COLOUR`: a name, or #rrggbb"},
		{name: "max-bad-images", category: categoryData, value: &d.MaxBadImages,
			usage: "skip up to `N` images that cannot be decoded, and name them"},
		{name: "cache", category: categoryData, value: &d.Cache, standard: "auto",
			usage: "cache decoded images in memory if all fit in `SIZE`, such as 8GiB; auto: in half of the free memory; or none"},
	}
}

func modelOptions(c *train.Config) []option {
	m := &c.Model
	return []option{
		{name: "image-size", category: categoryModel, value: &m.ImageSize, usage: "resolution of the images: `N` x N pixels"},
		{name: "num-channels", category: categoryModel, value: &m.NumChannels, usage: "base channel count `N` (width of the first level), a multiple of 32"},
		{name: "num-res-blocks", category: categoryModel, value: &m.NumResBlocks, usage: "residual blocks per level, `N`"},
		{name: "channel-mult", category: categoryModel, value: &m.ChannelMult, standard: "by image size",
			usage: "channel multipliers per level, `1,2,2`; each level halves the resolution"},
		{name: "attention-resolutions", category: categoryModel, value: &m.AttentionResolutions, usage: "self-attention at feature maps `N,N` pixels wide"},
		{name: "num-heads", category: categoryModel, value: &m.NumHeads, usage: "attention heads, `N`"},
		{name: "num-heads-upsample", category: categoryModel, value: &m.NumHeadsUpsample, usage: "attention heads in the decoder (upsampling path), `N` (-1: same as --num-heads)"},
		{name: "dropout", category: categoryModel, value: &m.Dropout, usage: "dropout probability `P`"},
		{name: "learn-sigma", category: categoryModel, value: &m.LearnSigma, usage: "learn the variances of the reverse process (trained with L_hybrid unless --use-kl)"},
		{name: "super-res", category: categoryModel, value: new(m.SuperRes()), usage: "super-resolution model: conditioned on the image downsampled to --small-size"},
		{name: "small-size", category: categoryModel, value: &m.SmallSize, standard: "64 with --super-res", usage: "resolution of the low-resolution input, `N` x N"},
		{name: "large-size", category: categoryModel, value: &m.ImageSize, standard: "256 with --super-res", usage: "resolution of the output, `N` x N: another name of --image-size, as in super_res_train.py of the reference"},
		{name: "use-checkpoint", category: categoryModel, value: &m.UseCheckpoint, usage: "gradient checkpointing: recompute activations in the backward pass to save memory"},
		{name: "use-scale-shift-norm", category: categoryModel, value: &m.UseScaleShiftNorm, usage: "timestep conditioning by scale and shift of the group norm (FiLM, AdaGN), not by addition"},
	}
}

func diffusionOptions(c *train.Config) []option {
	d := &c.Diffusion
	return []option{
		{name: "diffusion-steps", category: categoryDiffusion, value: &d.Steps, usage: "number of diffusion timesteps `T`"},
		{name: "noise-schedule", category: categoryDiffusion, value: &d.NoiseSchedule, usage: "noise (beta) schedule `NAME`: linear or cosine"},
		{name: "timestep-respacing", category: categoryDiffusion, value: &d.TimestepRespacing, standard: "all",
			usage: "use a subset of the timesteps, `SPEC`: 250, or 10,15,20 per section, or ddim50"},
		{name: "sigma-small", category: categoryDiffusion, value: &d.SigmaSmall, usage: "fixed variance: posterior variance (beta tilde) instead of beta"},
		{name: "use-kl", category: categoryDiffusion, value: &d.UseKL, usage: "train on the variational bound alone (L_vlb)"},
		{name: "predict-xstart", category: categoryDiffusion, value: &d.PredictXStart, usage: "the network predicts x_0 instead of the noise epsilon"},
		{name: "rescale-timesteps", category: categoryDiffusion, value: &d.RescaleTimesteps, usage: "scale timesteps to [0, 1000) before the timestep embedding"},
		{name: "rescale-learned-sigmas", category: categoryDiffusion, value: &d.RescaleLearnedSigmas, usage: "weight of the variational bound in L_hybrid: 1/1000 of the full bound"},
	}
}

func trainingOptions(c *train.Config) []option {
	o := &c.Train
	return []option{
		{name: "steps", category: categoryTraining, value: &o.Steps, usage: "stop after `N` optimizer steps in total (0: at --lr-anneal-steps, or when interrupted)"},
		{name: "batch-size", category: categoryTraining, timed: true, value: &o.BatchSize, usage: "global batch size: `N` images per step over all processes"},
		{name: "microbatch", category: categoryTraining, timed: true, value: &microbatchValue{o}, usage: "gradient accumulation: `N` images per forward/backward pass, same gradient (-1: the whole batch; auto: as many as fit a GPU)"},
		{name: "lr", category: categoryTraining, timed: true, value: &o.LR, usage: "learning rate `RATE` of AdamW"},
		{name: "weight-decay", category: categoryTraining, timed: true, value: &o.WeightDecay, usage: "decoupled weight decay `W` of AdamW"},
		{name: "lr-anneal-steps", category: categoryTraining, value: &o.LRAnnealSteps, usage: "anneal the learning rate linearly to 0 over `N` steps (0: constant)"},
		{name: "warmup-steps", category: categoryTraining, value: &o.WarmupSteps, usage: "linear learning rate warm-up over the first `N` steps"},
		{name: "ema-rate", category: categoryTraining, timed: true, value: &o.EMARates, usage: "EMA decay `RATES` of the weights, comma-separated"},
		{name: "grad-clip", category: categoryTraining, timed: true, value: &o.GradClip, usage: "clip the gradient norm to `NORM` (0: off)"},
		{name: "schedule-sampler", category: categoryTraining, timed: true, value: &o.ScheduleSampler, usage: "timestep sampler `NAME`: uniform or loss-second-moment (importance sampling)"},
		{name: "log-interval", category: categoryTraining, value: &o.LogInterval, usage: "log metrics every `N` steps"},
		{name: "gradient-noise", category: categoryTraining, value: &o.GradientNoise, usage: "record the gradient noise scale, from the gradients of microbatches and of the batch"},
		{name: "save-interval", category: categoryTraining, value: &o.SaveInterval, usage: "save a checkpoint every `N` steps"},
		{name: "keep", category: categoryTraining, value: &o.Keep, usage: "keep only the newest `N` checkpoints (0: all); an old one is deleted once a newer one is on disk"},
		{name: "keep-every", category: categoryTraining, value: &o.KeepEvery, usage: "with --keep, also keep checkpoints at multiples of `M` steps"},
		{name: "max-skipped-steps", category: categoryTraining, value: &o.MaxSkipped, usage: "after `N` consecutive steps with a non-finite loss or gradient, roll back to the last checkpoint, once"},
		{name: "fp16-scale-growth", category: categoryTraining, timed: true, value: &o.FP16ScaleGrowth, usage: "dynamic loss scaling (fp16): growth of log2(loss scale) per step, `N`"},
		{name: "init-from", path: true, category: categoryTraining, value: &o.InitFrom, usage: "initialise (fine-tune) from the weights of `CKPT`"},
		{name: "reinit-mismatched", category: categoryTraining, value: &o.ReinitMismatched, usage: "with --init-from, re-initialise layers whose shapes do not match"},
		{name: "seed", category: categoryTraining, timed: true, value: &o.Seed, usage: "random seed `N`: initial weights, data order, timesteps and noise"},
		timed(precisionOption(&o.Precision, categoryTraining)),
		{name: "no-cuda-graphs", category: categoryTraining, timed: true, value: &o.NoCUDAGraphs, usage: "disable CUDA graph capture and run eagerly: slower, less memory during evaluation"},
		{name: "deterministic", category: categoryTraining, timed: true, value: &o.Deterministic, usage: "use deterministic algorithms on CUDA: bit-identical runs"},
		timed(threadsOption(&o.Threads, categoryTraining)),
	}
}

func evalOptions(c *train.Config) []option {
	e := &c.Eval
	return []option{
		{name: "eval-interval", category: categoryEvaluation, value: &e.Interval, usage: "evaluate bits/dim on held-out images every `N` steps (0: never)"},
		{name: "hold-out", category: categoryEvaluation, value: &e.HoldOut, usage: "fraction `SHARE` of the images held out for validation, such as 0.05"},
		{name: "eval-data", category: categoryEvaluation, local: true, value: &e.Dir, standard: "those of --hold-out", usage: "evaluate on the images in `DIR`"},
		{name: "eval-pictures", category: categoryEvaluation, value: &e.Images, standard: "64", usage: "evaluate on `N` images, spread evenly over the set"},
		{name: "eval-respacing", category: categoryEvaluation, value: &e.Respacing, standard: "as trained", usage: "evaluate on a subset of the timesteps, `SPEC`, such as 100: faster, and a different bound"},
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

// networkOptions are the options that describe the network and diffusion of a file that
// holds only weights.
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

// configure applies the given flags to a configuration.
func configure(c *cli.Context, config *train.Config, options []option) error {
	was := config.Model.SuperRes()
	err := errors.Join(apply(c, options), superRes(c, &config.Model, was))
	config.Diffusion.LearnSigma = config.Model.LearnSigma
	if err == nil && c.IsSet("attention-resolutions") {
		err = checkAttention(config.Model)
	}
	return err
}

// checkAttention returns an error if no feature map has any of the attention resolutions.
// improved-diffusion's default, 16,8, is valid for every network.
func checkAttention(m model.Config) error {
	named, unused := m.AttentionResolutions, m.UnusedAttention()
	sizes := m.LevelSizes()
	if len(named) == 0 || len(unused) < len(named) || len(sizes) == 0 || slices.Equal(named, []int{16, 8}) {
		return nil
	}
	return wrongUse("--attention-resolutions %s: the network has no feature map of that size: use %s (pixels a side)", showList(named), showList(sizes))
}

// superRes fills in the super-resolution settings that no flag sets: any one of the flags
// enables it. was reports whether it was enabled before.
func superRes(c *cli.Context, m *model.Config, was bool) error {
	enabled := m.SuperRes() || c.IsSet("large-size")
	if err := apply(c, []option{{name: "super-res", value: &enabled}}); err != nil || !enabled {
		if m.SuperRes() {
			return errors.Join(err, wrongUse("--super-res False: but --small-size %d makes a super-resolution model", m.SmallSize))
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
		usage: "start from the settings of preset `NAME`: " + presetNames()}
}

func configOption() option {
	return option{name: "config", path: true, category: categoryRun, value: new(string), usage: "read settings from YAML `FILE`, whose keys are names of flags"}
}

// presetNames lists the presets.
func presetNames() string {
	var names []string
	for _, p := range train.Presets() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// baseConfig returns the configuration of a preset, or improved-diffusion's defaults for
// "".
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

// Flags that several commands share follow. Their help category depends on the command.

func jsonOption(enabled *bool) option {
	return option{name: "json", category: categoryRun, value: enabled, usage: "print the result as one JSON object"}
}

func splitOption(split *string) option {
	return option{name: "split", category: categoryData, value: split, usage: "for CIFAR and the like, use the images of `SPLIT`: train or test"}
}

// emaDefault describes the default of [train.Checkpoint.Weights].
const emaDefault = "the highest rate, or none while rate^step > 0.5"

func emaOption(rate *string, category string) option {
	return option{name: "ema", category: category, value: rate, standard: emaDefault, usage: "load the EMA weights of decay `RATE`, or none: the weights of the last step"}
}

func precisionOption(precision *string, category string) option {
	return option{name: "precision", category: category, value: precision, usage: "compute precision `TYPE`: fp32, tf32, bf16 or fp16 (mixed precision), or auto: bf16 where the hardware supports it, else fp16 on GPUs with tensor cores for it, else fp32"}
}

func threadsOption(threads *int, category string) option {
	return option{name: "threads", category: category, value: threads, usage: "CPU threads per process, `N`, fixed (0: one per core, or its share of them, that other programs leave free)"}
}
