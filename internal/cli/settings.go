package cli

import (
	"errors"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"iddpm/diffusion"
	"iddpm/internal/commas"
	"iddpm/model"
	"iddpm/runconfig"
)

// The categories of flags in help.
const (
	CategoryData       = "Data"
	categoryModel      = "Model"
	categoryClassifier = "Model of a classifier"
	categoryDiffusion  = "Diffusion"
	CategoryTraining   = "Training"
	CategoryEvaluation = "Evaluation"
	CategorySampling   = "Sampling"
	CategoryFigure     = "Figure"
	CategoryRun        = "Run"
)

// DataOptions returns the flags of the training images.
func DataOptions(c *runconfig.Config) []Option {
	d, m := &c.Data, &c.Model
	return []Option{
		{Name: "data-dir", Category: CategoryData, Local: true, Value: &d.Dir, Standard: "the built-in emoji",
			Usage: "train on the images in `DIR`: a folder at any depth, a zip or an archive; jpg, png, gif, webp, bmp"},
		{Name: "class-cond", Category: CategoryData, Timed: true, Value: &m.ClassCond,
			Usage: "class-conditional model: by default classes are the data set's own labels, prefixes of file names before the first _, or folders (see --labels)"},
		{Name: "num-classes", Category: CategoryData, Timed: true, Value: &m.NumClasses,
			Usage: "number of classes `N` in the label embedding (0: as many as the images have; the reference has 1000)"},
		{Name: "labels", Category: CategoryData, Local: true, Value: &d.Labels, Standard: "what the images offer",
			Usage: "read class labels from `WHERE`: prefix (of file names), folder, source (the data set's own), or a .csv, .tsv or .txt file of lines NAME,CLASS"},
		{Name: "classes", Category: CategoryData, Value: &d.Classes, Standard: "all",
			Usage: "use only the images of these classes, `NAME,NAME...`, with or without --class-cond"},
		{Name: "random-flip", Category: CategoryData, Value: &d.Flip,
			Usage: "augmentation: flip each image horizontally with probability 1/2"},
		{Name: "random-crop", Category: CategoryData, Value: &d.RandomCrop,
			Usage: "augmentation: random crop of a slightly larger resize, instead of the center crop"},
		{Name: "exif-orientation", Category: CategoryData, Value: &d.Orient,
			Usage: "apply the EXIF orientation of photographs; the reference does not"},
		{Name: "jpeg-decoder", Category: CategoryData, Value: &d.JPEGDecoder, Standard: "auto",
			Usage: "JPEG decoder `NAME`: turbo (libjpeg-turbo), go (its pixels differ slightly from the reference's), or auto: turbo where it is installed"},
		{Name: "background", Category: CategoryData, Value: &d.Background, Standard: "white",
			Usage: "composite transparent images over `COLOUR`: a name, or #rrggbb"},
		{Name: "max-bad-images", Category: CategoryData, Value: &d.MaxBadImages,
			Usage: "skip up to `N` images that cannot be decoded, and name them"},
		{Name: "cache", Category: CategoryData, Value: &d.Cache, Standard: "auto",
			Usage: "cache decoded images in memory if all fit in `SIZE`, such as 8GiB; auto: in half of the free memory; or none"},
	}
}

// ModelOptions returns the flags of the network.
func ModelOptions(c *runconfig.Config) []Option {
	m := &c.Model
	return []Option{
		{Name: "image-size", Category: categoryModel, Value: &m.ImageSize, Usage: "resolution of the images: `N` x N pixels"},
		{Name: "num-channels", Category: categoryModel, Value: &m.NumChannels, Usage: "base channel count `N` (width of the first level), a multiple of 32"},
		{Name: "num-res-blocks", Category: categoryModel, Value: &m.NumResBlocks, Usage: "residual blocks per level, `N`"},
		{Name: "channel-mult", Category: categoryModel, Value: &m.ChannelMult, Standard: "by image size",
			Usage: "channel multipliers per level, `1,2,2`, which may be fractions; each level halves the resolution. " +
				"By image size: 32 1,2,2,2, 64 1,2,3,4, 256 1,1,2,2,4,4 as in improved-diffusion; 128 1,1,2,3,4, 512 0.5,1,1,2,2,4,4 as in guided-diffusion (512 with --super-res as 256)"},
		{Name: "attention-resolutions", Category: categoryModel, Value: &m.AttentionResolutions, Usage: "self-attention at feature maps `N,N` pixels wide"},
		{Name: "num-heads", Category: categoryModel, Value: &m.NumHeads, Usage: "attention heads, `N`"},
		{Name: "num-heads-upsample", Category: categoryModel, Value: &m.NumHeadsUpsample, Usage: "attention heads in the decoder (upsampling path), `N` (-1: same as --num-heads)"},
		{Name: "num-head-channels", Category: categoryModel, Value: &m.NumHeadChannels, Usage: "channels per attention head, `N`, instead of --num-heads (-1: see there)"},
		{Name: "use-new-attention-order", Category: categoryModel, Value: &m.NewAttentionOrder, Usage: "queries, keys and values in separate thirds of the channels, as in guided-diffusion's network for 64 pixels"},
		{Name: "resblock-updown", Category: categoryModel, Value: &m.ResBlockUpDown, Usage: "down- and upsampling by residual blocks (BigGAN), not by single convolutions"},
		{Name: "asymmetric-padding", Category: categoryModel, Value: &m.AsymmetricPadding, Usage: "downsampling pads at the right and the bottom alone: downsample_padding 0 of diffusers"},
		{Name: "freq-shift", Category: categoryModel, Value: &m.FreqShift, Usage: "timestep embedding of frequencies 10000^(-k / (C/2 - `S`)), as freq_shift of diffusers: 0 or 1"},
		{Name: "norm-eps", Category: categoryModel, Value: &m.NormEps, Standard: "1e-5", Usage: "epsilon `E` of the group norms"},
		{Name: "dropout", Category: categoryModel, Value: &m.Dropout, Usage: "dropout probability `P`"},
		{Name: "class-dropout", Category: categoryModel, Value: &m.ClassDropout, Usage: "train class-conditional models without the class with probability `P`, such as 0.1, for classifier-free guidance (sample --guidance): adds a null class"},
		{Name: "learn-sigma", Category: categoryModel, Value: &m.LearnSigma, Usage: "learn the variances of the reverse process (trained with L_hybrid unless --use-kl)"},
		{Name: "super-res", Category: categoryModel, Value: new(m.SuperRes()), Usage: "super-resolution model: conditioned on the image downsampled to --small-size"},
		{Name: "small-size", Category: categoryModel, Value: &m.SmallSize, Standard: "64 with --super-res", Usage: "resolution of the low-resolution input, `N` x N"},
		{Name: "large-size", Category: categoryModel, Value: &m.ImageSize, Standard: "256 with --super-res", Usage: "resolution of the output, `N` x N: another name of --image-size, as in super_res_train.py of the reference"},
		{Name: "use-checkpoint", Category: categoryModel, Value: &m.UseCheckpoint, Usage: "gradient checkpointing: recompute activations in the backward pass to save memory"},
		{Name: "use-scale-shift-norm", Category: categoryModel, Value: &m.UseScaleShiftNorm, Usage: "timestep conditioning by scale and shift of the group norm (FiLM, AdaGN), not by addition"},
	}
}

// ClassifierOptions returns the flags of a classifier of noisy images, in guided-diffusion's
// spellings.
func ClassifierOptions(c *model.ClassifierConfig) []Option {
	return []Option{
		{Name: "classifier-width", Category: categoryClassifier, Value: &c.Width, Usage: "base channel count `N` of the classifier, a multiple of 64"},
		{Name: "classifier-depth", Category: categoryClassifier, Value: &c.Depth, Usage: "the classifier's residual blocks per level, `N`"},
		{Name: "classifier-channel-mult", Category: categoryClassifier, Value: &c.ChannelMult, Standard: "by image size", Usage: "the classifier's channel multipliers per level, `1,2,2`, as for --channel-mult"},
		{Name: "classifier-attention-resolutions", Category: categoryClassifier, Value: &c.AttentionResolutions, Usage: "the classifier's self-attention at feature maps `N,N` pixels wide"},
		{Name: "classifier-use-scale-shift-norm", Category: categoryClassifier, Value: &c.UseScaleShiftNorm, Usage: "timestep conditioning of the classifier by scale and shift of the group norm"},
		{Name: "classifier-resblock-updown", Category: categoryClassifier, Value: &c.ResBlockUpDown, Usage: "downsampling by residual blocks in the classifier"},
		{Name: "classifier-pool", Category: categoryClassifier, Value: &c.Pool, Usage: "pooling `NAME` of the classifier: adaptive, attention, spatial or spatial_v2"},
	}
}

// DiffusionOptions returns the flags of the diffusion process.
func DiffusionOptions(c *runconfig.Config) []Option {
	d := &c.Diffusion
	return []Option{
		{Name: "diffusion-steps", Category: categoryDiffusion, Value: &d.Steps, Usage: "number of diffusion timesteps `T`"},
		{Name: "noise-schedule", Category: categoryDiffusion, Value: &d.NoiseSchedule, Usage: "noise (beta) schedule `NAME`: " + diffusion.ScheduleNames},
		{Name: "zero-terminal-snr", Category: categoryDiffusion, Value: &d.ZeroTerminalSNR, Usage: "rescale the noise schedule so that x_T has no signal left (with --predict v)"},
		{Name: "timestep-respacing", Category: categoryDiffusion, Value: &d.TimestepRespacing, Standard: "all",
			Usage: "use a subset of the timesteps, `SPEC`: 250, or 10,15,20 per section, or ddim50, or logsnr20, even in log-SNR, or trimmed20"},
		{Name: "sigma-small", Category: categoryDiffusion, Value: &d.SigmaSmall, Usage: "fixed variance: posterior variance (beta tilde) instead of beta"},
		{Name: "use-kl", Category: categoryDiffusion, Value: &d.UseKL, Usage: "train on the variational bound alone (L_vlb)"},
		{Name: "predict-xstart", Category: categoryDiffusion, Value: &d.PredictXStart, Usage: "the network predicts x_0 instead of the noise epsilon: --predict xstart"},
		{Name: "predict", Category: categoryDiffusion, Value: &d.Predict, Standard: "epsilon, or xstart with --predict-xstart", Usage: "what the network predicts, `NAME`: epsilon, xstart (x_0), or v (velocity), as in the presets emoji and emoji-gpu"},
		{Name: "loss-weight", Category: categoryDiffusion, Value: &d.LossWeight, Standard: "none", Usage: "weight `NAME` of L_simple by timestep: " + diffusion.LossWeightNames},
		{Name: "rescale-timesteps", Category: categoryDiffusion, Value: &d.RescaleTimesteps, Usage: "scale timesteps to [0, 1000) before the timestep embedding"},
		{Name: "rescale-learned-sigmas", Category: categoryDiffusion, Value: &d.RescaleLearnedSigmas, Usage: "weight of the variational bound in L_hybrid: 1/1000 of the full bound"},
	}
}

// TrainingOptions returns the flags of the optimizer and the training loop.
func TrainingOptions(c *runconfig.Config) []Option {
	o := &c.Train
	return []Option{
		{Name: "steps", Category: CategoryTraining, Value: &o.Steps, Usage: "stop after `N` optimizer steps in total (0: at --lr-anneal-steps, or when interrupted)"},
		{Name: "batch-size", Category: CategoryTraining, Timed: true, Value: &o.BatchSize, Usage: "global batch size: `N` images per step over all processes"},
		{Name: "microbatch", Category: CategoryTraining, Timed: true, Value: &microbatchValue{o}, Usage: "gradient accumulation: `N` images per forward/backward pass, same gradient (-1: the whole batch; auto: as many as fit a GPU)"},
		{Name: "lr", Category: CategoryTraining, Timed: true, Value: &o.LR, Usage: "learning rate `RATE` of AdamW"},
		{Name: "weight-decay", Category: CategoryTraining, Timed: true, Value: &o.WeightDecay, Usage: "decoupled weight decay `W` of AdamW"},
		{Name: "lr-anneal-steps", Category: CategoryTraining, Value: &o.LRAnnealSteps, Usage: "anneal the learning rate linearly to 0 over `N` steps (0: constant)"},
		{Name: "warmup-steps", Category: CategoryTraining, Value: &o.WarmupSteps, Usage: "linear learning rate warm-up over the first `N` steps"},
		{Name: "ema-rate", Category: CategoryTraining, Timed: true, Value: &o.EMARates, Usage: "EMA decay `RATES` of the weights, comma-separated"},
		{Name: "ema-warmup", Category: CategoryTraining, Timed: true, Value: &o.EMAWarmup, Usage: "EMA warm-up: limit the decay rates at step n to (1+n)/(10+n), for short runs"},
		{Name: "power-ema", Category: CategoryTraining, Timed: true, Value: &o.PowerEMA, Standard: "none", Usage: "also record power-function EMAs of these `LENGTHS`, such as 0.05,0.10, from which iddpm ema makes an EMA of any length after training"},
		{Name: "power-ema-interval", Category: CategoryTraining, Value: &o.PowerEMAInterval, Standard: "--save-interval", Usage: "save a snapshot of the power-function EMAs every `N` steps"},
		{Name: "grad-clip", Category: CategoryTraining, Timed: true, Value: &o.GradClip, Usage: "clip the gradient norm to `NORM` (0: off)"},
		{Name: "schedule-sampler", Category: CategoryTraining, Timed: true, Value: &o.ScheduleSampler, Usage: "timestep sampler `NAME`: uniform or loss-second-moment (importance sampling)"},
		{Name: "log-interval", Category: CategoryTraining, Value: &o.LogInterval, Usage: "log metrics every `N` steps"},
		{Name: "gradient-noise", Category: CategoryTraining, Value: &o.GradientNoise, Usage: "record the gradient noise scale, from the gradients of microbatches and of the batch"},
		{Name: "save-interval", Category: CategoryTraining, Value: &o.SaveInterval, Usage: "save a checkpoint every `N` steps"},
		{Name: "keep", Category: CategoryTraining, Value: &o.Keep, Usage: "keep only the newest `N` checkpoints (0: all); an old one is deleted once a newer one is on disk"},
		{Name: "keep-every", Category: CategoryTraining, Value: &o.KeepEvery, Usage: "with --keep, also keep checkpoints at multiples of `M` steps"},
		{Name: "keep-best", Category: CategoryTraining, Value: &o.KeepBest, Usage: "also keep the checkpoint of the smallest `METRIC`, as checkpoints/best.pt: loss (mean over a save interval), bpd (held-out bits/dim), or fid or kid (of --eval-samples)"},
		{Name: "max-skipped-steps", Category: CategoryTraining, Value: &o.MaxSkipped, Usage: "after `N` consecutive steps with a non-finite loss or gradient, roll back to the last checkpoint, once"},
		{Name: "fp16-scale-growth", Category: CategoryTraining, Timed: true, Value: &o.FP16ScaleGrowth, Usage: "dynamic loss scaling (fp16): growth of log2(loss scale) per step, `N`"},
		{Name: "init-from", Path: true, Category: CategoryTraining, Value: &o.InitFrom, Usage: "initialise (fine-tune) from the weights of `CKPT`"},
		{Name: "reinit-mismatched", Category: CategoryTraining, Value: &o.ReinitMismatched, Usage: "with --init-from, re-initialise layers whose shapes do not match"},
		{Name: "seed", Category: CategoryTraining, Timed: true, Value: &o.Seed, Usage: "random seed `N`: initial weights, data order, timesteps and noise"},
		timed(PrecisionOption(&o.Precision, CategoryTraining)),
		{Name: "no-cuda-graphs", Category: CategoryTraining, Timed: true, Value: &o.NoCUDAGraphs, Usage: "disable CUDA graph capture and run eagerly: slower, less memory during evaluation"},
		{Name: "deterministic", Category: CategoryTraining, Timed: true, Value: &o.Deterministic, Usage: "use deterministic algorithms on CUDA: bit-identical runs"},
		timed(ThreadsOption(&o.Threads, CategoryTraining)),
	}
}

// EvalOptions returns the flags of held-out evaluation during training.
func EvalOptions(c *runconfig.Config) []Option {
	e := &c.Eval
	return []Option{
		{Name: "eval-interval", Category: CategoryEvaluation, Value: &e.Interval, Usage: "evaluate bits/dim on held-out images, and --eval-samples, every `N` steps (0: never)"},
		{Name: "hold-out", Category: CategoryEvaluation, Value: &e.HoldOut, Usage: "fraction `SHARE` of the images held out for validation, such as 0.05"},
		{Name: "eval-data", Category: CategoryEvaluation, Local: true, Value: &e.Dir, Standard: "those of --hold-out", Usage: "evaluate on the images in `DIR`"},
		{Name: "eval-pictures", Category: CategoryEvaluation, Value: &e.Images, Standard: "64", Usage: "evaluate on `N` images, spread evenly over the set"},
		{Name: "eval-respacing", Category: CategoryEvaluation, Value: &e.Respacing, Standard: "as trained", Usage: "evaluate on a subset of the timesteps, `SPEC`, such as 100: faster, and a different bound"},
	}
}

// SampleMetricOptions returns the flags of the evaluation of samples during training.
func SampleMetricOptions(c *runconfig.Config) []Option {
	e := &c.Eval
	return []Option{
		{Name: "eval-samples", Category: CategoryEvaluation, Value: &e.Samples, Usage: "with --eval-interval, compare `N` samples with up to 10,000 training images (0: none)"},
		{Name: "eval-metric", Category: CategoryEvaluation, Value: &e.Metric, Standard: "fid", Usage: "compare --eval-samples by `METRIC`: fid, or kid, which is unbiased for few samples"},
		{Name: "eval-inception", Category: CategoryEvaluation, Local: true, Value: &e.Inception, Standard: "downloaded once", Usage: "read the weights of the Inception network for --eval-metric from `FILE`"},
	}
}

// GridOptions returns the flags of sample grids during training.
func GridOptions(c *runconfig.Config) []Option {
	s := &c.Samples
	return []Option{
		{Name: "sample-interval", Category: CategorySampling, Value: &intervalValue{s},
			Usage: "save a grid of samples every `N` steps, and after the last one (0: never; auto, with a preset or on a terminal: as often as 3 % of the time allow)"},
		{Name: "sample-images", Category: CategorySampling, Value: &s.Images, Standard: "64, or 16 in a short run", Usage: "`N` images in a grid"},
		{Name: "sample-respacing", Category: CategorySampling, Value: &s.Respacing, Standard: "ddim50",
			Usage: "sample grids with a subset of the timesteps, `SPEC`, as --timestep-respacing: ddimN by DDIM, logsnrN and trimmedN by DPM-Solver++(2M), others by ancestral sampling"},
	}
}

// ConfigOptions returns the options of a whole configuration.
func ConfigOptions(c *runconfig.Config) []Option {
	options := DataOptions(c)
	options = append(options, ModelOptions(c)...)
	options = append(options, DiffusionOptions(c)...)
	options = append(options, TrainingOptions(c)...)
	options = append(append(options, EvalOptions(c)...), SampleMetricOptions(c)...)
	return append(options, GridOptions(c)...)
}

// NetworkOptions are the options that describe the network and diffusion of a file that
// holds only weights.
func NetworkOptions(c *runconfig.Config) []Option {
	options := []Option{}
	for _, o := range DataOptions(c) {
		if o.Name == "class-cond" || o.Name == "num-classes" {
			o.Category = categoryModel
			options = append(options, o)
		}
	}
	return append(append(options, ModelOptions(c)...), DiffusionOptions(c)...)
}

// Configure applies the given flags to a configuration.
func Configure(c *urfave.Context, config *runconfig.Config, options []Option) error {
	was := config.Model.SuperRes()
	err := errors.Join(Apply(c, options), superRes(c, &config.Model, was))
	config.Diffusion.LearnSigma = config.Model.LearnSigma
	if d := &config.Diffusion; d.PredictXStart && d.Predict != "" && c.IsSet("predict-xstart") && !c.IsSet("predict") {
		d.Predict = "xstart" // not the preset's
	}
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
	return Errorf("--attention-resolutions %s: the network has no feature map of that size: use %s (pixels a side)", commas.Join(named), commas.Join(sizes))
}

// superRes fills in the super-resolution settings that no flag sets: any one of the flags
// enables it. was reports whether it was enabled before.
func superRes(c *urfave.Context, m *model.Config, was bool) error {
	enabled := m.SuperRes() || c.IsSet("large-size")
	if err := Apply(c, []Option{{Name: "super-res", Value: &enabled}}); err != nil || !enabled {
		if m.SuperRes() {
			return errors.Join(err, Errorf("--super-res False: but --small-size %d makes a super-resolution model", m.SmallSize))
		}
		return err
	}
	if c.IsSet("image-size") && c.IsSet("large-size") && c.String("image-size") != c.String("large-size") {
		return Errorf("--image-size %s and --large-size %s are two names for one size", c.String("image-size"), c.String("large-size"))
	}
	if m.SmallSize == 0 {
		m.SmallSize = 64
	}
	if !was && !c.IsSet("image-size") && !c.IsSet("large-size") {
		m.ImageSize = 256
	}
	return nil
}

// BaseConfig returns the configuration of a preset, or improved-diffusion's defaults for
// "".
func BaseConfig(preset string) (runconfig.Config, error) {
	if preset == "" {
		return runconfig.Defaults(), nil
	}
	p, err := runconfig.LookupPreset(preset)
	if err != nil {
		return p.Config, Errorf("--preset: %w", err)
	}
	return p.Config, nil
}
