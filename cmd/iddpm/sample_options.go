package main

import (
	"errors"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// defaultStrength keeps the composition of the images, and changes what they show.
const defaultStrength = 0.6

// inpaintSteps is the number of timesteps of inpainting where the user does not choose: RePaint is
// made for ancestral sampling, and repeats most of them.
const inpaintSteps = 50

// sampleOptions are the flags of sample, in addition to those of the network.
type sampleOptions struct {
	sessionOptions
	inferenceOptions
	remoteOptions
	preset    string
	number    int
	first     int // index of the first image
	batchSize int
	class     string
	seed      uint64
	dir       string

	progress     bool // --denoised-progress
	interpolate  []uint64
	latents      string
	invert       string
	start        string  // --start
	strength     float64 // of --start
	inpaint      string
	mask         string
	resamplings  int // of --inpaint; 0: 5
	jump         int // of --inpaint; 0: 5
	refine       int
	baseSamples  string
	guidance     guidanceOptions
	byClassifier classifierOptions
	cascade      cascadeOptions
	sampler      samplerOptions
	choice       samplerChoice // from sampler, once the checkpoint is known
}

func newSampleOptions() *sampleOptions {
	return &sampleOptions{sessionOptions: defaultSession(), inferenceOptions: defaultInference(), number: 64, batchSize: 16, strength: defaultStrength, guidance: noGuidance(), byClassifier: newClassifierOptions(), cascade: newCascadeOptions()}
}

func (o *sampleOptions) options() []cli.Option {
	return append(slices.Concat(o.sessionOptions.options(), o.inferenceOptions.options(cli.CategorySampling), o.guidance.options(), o.byClassifier.options(), o.cascade.options(), o.remoteOptions.options(), o.sampler.options()),
		cli.PresetOption(&o.preset), cli.ConfigOption(), o.processesOption(), o.connectOption(),
		cli.Option{Name: "num-samples", Category: cli.CategorySampling, Value: &o.number, Usage: "generate `N` samples"},
		cli.Option{Name: "first-sample", Category: cli.CategorySampling, Value: &o.first, Usage: "start at sample `N` of the seed: to continue a set of samples, or to share it among machines"},
		cli.Option{Name: "batch-size", Category: cli.CategorySampling, Value: &o.batchSize, Usage: "`N` samples per batch in each process; the samples do not depend on it"},
		cli.Option{Name: "class", Category: cli.CategorySampling, Value: &o.class, Standard: "at random", Usage: "sample class `NAME` or number, or several in turn, comma-separated"},
		cli.Option{Name: "seed", Category: cli.CategorySampling, Value: &o.seed, Usage: "random seed `N`; sample i is a function of N and i"},
		cli.Option{Name: "denoised-progress", Category: cli.CategorySampling, Value: &o.progress, Usage: "also save a strip of the predicted x_0 along the sampling trajectory"},
		cli.Option{Name: "interpolate", Category: cli.CategorySampling, Value: &o.interpolate, Usage: "interpolate from one seed's first sample to another's in --num-samples images: `SEED,SEED`"},
		cli.Option{Name: "invert", Category: cli.CategorySampling, Local: true, Value: &o.invert, Usage: "DDIM inversion: find the latents of `IMAGES`: an image, a folder, a zip"},
		cli.Option{Name: "invert-refine", Category: cli.CategorySampling, Value: &o.refine, Usage: "with --invert, `N` fixed-point iterations per step, for more accurate latents"},
		cli.Option{Name: "base-samples", Category: cli.CategorySampling, Local: true, Value: &o.baseSamples, Usage: "upsample the images in `FILE_OR_DIR`: an .npz of samples, a folder, a zip"},
		cli.Option{Name: "start", Category: cli.CategorySampling, Local: true, Value: &o.start, Usage: "SDEdit: start from `IMAGES` with noise, instead of noise alone: an image, a folder, a zip"},
		cli.Option{Name: "strength", Category: cli.CategorySampling, Value: &o.strength, Usage: "with --start, add noise up to timestep `S` T: 0 returns the images, 1 samples from noise alone"},
		cli.Option{Name: "inpaint", Category: cli.CategorySampling, Local: true, Value: &o.inpaint, Usage: "RePaint: keep the known pixels of `IMAGES`, and generate the others: an image, a folder, a zip"},
		cli.Option{Name: "mask", Category: cli.CategorySampling, Local: true, Value: &o.mask, Usage: "with --inpaint, `MASKS` that are white where a pixel is known, black where it is generated: one for all images, or one each"},
		cli.Option{Name: "resamplings", Category: cli.CategorySampling, Value: &o.resamplings, Standard: "5", Usage: "with --inpaint, run each part of the process `N` times, so that both kinds of pixels fit"},
		cli.Option{Name: "jump-length", Category: cli.CategorySampling, Value: &o.jump, Standard: "5", Usage: "with --inpaint, `N` timesteps in each such part"},
		cli.Option{Name: "latents", Category: cli.CategorySampling, Local: true, Value: &o.latents, Usage: "start from the latents in `FILE`, written by --invert, instead of noise"},
		cli.Option{Name: "out-dir", Alias: "o", Category: cli.CategoryRun, Local: true, Value: &o.dir, Standard: "the run's samples/step-N", Variable: "OPENAI_LOGDIR", Usage: "write to `DIR`"},
	)
}

func (o *sampleOptions) validate() error {
	switch {
	case o.number < 1:
		return cli.Errorf("--num-samples must be above 0, not %d", o.number)
	case o.first < 0:
		return cli.Errorf("--first-sample must not be negative, but is %d", o.first)
	case o.batchSize < 1:
		return cli.Errorf("--batch-size must be above 0, not %d", o.batchSize)
	case !(o.strength >= 0 && o.strength <= 1):
		return cli.Errorf("--strength must be in [0, 1], not %g", o.strength)
	case o.strength != defaultStrength && o.start == "":
		return cli.Errorf("--strength is for --start")
	case (o.inpaint == "") != (o.mask == ""):
		return cli.Errorf("--inpaint and --mask need each other")
	case o.resamplings < 0 || o.jump < 0:
		return cli.Errorf("--resamplings and --jump-length must be above 0, not %d and %d", o.resamplings, o.jump)
	case (o.resamplings > 0 || o.jump > 0) && o.inpaint == "":
		return cli.Errorf("--resamplings and --jump-length are for --inpaint")
	case o.inpaint != "" && (o.start != "" || o.latents != "" || o.invert != "" || o.interpolate != nil || o.baseSamples != "" || o.progress):
		return cli.Errorf("--inpaint supports neither --start nor --latents nor --invert nor --interpolate nor --base-samples nor --denoised-progress: omit them")
	case o.start != "" && (o.latents != "" || o.invert != "" || o.interpolate != nil || o.baseSamples != ""):
		return cli.Errorf("--start replaces --latents, --invert, --interpolate and --base-samples: omit them")
	case o.refine < 0:
		return cli.Errorf("--invert-refine must not be negative, but is %d", o.refine)
	case o.refine > 0 && o.invert == "":
		return cli.Errorf("--invert-refine is for --invert")
	}
	return errors.Join(o.sampler.validate(), o.validateStart(), o.guidance.validate(), o.byClassifier.validate(), o.cascade.validate())
}

// validateStart checks the flags that replace the noise x_T.
func (o *sampleOptions) validateStart() error {
	starts := 0
	for _, given := range []bool{o.invert != "", o.latents != "", o.interpolate != nil} {
		if given {
			starts++
		}
	}
	switch {
	case starts > 1:
		return cli.Errorf("choose one of --invert, --latents and --interpolate")
	case starts > 0 && o.first > 0:
		return cli.Errorf("--first-sample counts samples from noise: omit it with --invert, --latents and --interpolate")
	case o.invert != "" && (o.sampler.eta > 0 || o.progress || o.guidance.scale != 1 || o.byClassifier.path != ""):
		return cli.Errorf("--invert supports neither --eta nor --denoised-progress nor --guidance nor --classifier")
	case o.interpolate == nil:
		return nil
	case len(o.interpolate) != 2 || o.number < 2:
		return cli.Errorf("--interpolate needs two seeds, as in 1,2, and --num-samples above 1")
	}
	return nil
}

// choose chooses the sampler for a checkpoint, whose timesteps it sets. flags reports whether the
// command line describes the network or its diffusion, as improved-diffusion's does.
func (o *sampleOptions) choose(c *urfave.Context, checkpoint *checkpoint.Checkpoint) (err error) {
	d := &checkpoint.Config.Diffusion
	r := samplerRequest{
		numTimesteps: d.Steps, respacing: d.TimestepRespacing, respaced: c.IsSet("timestep-respacing") && d.TimestepRespacing != "",
		reference:     o.asReference(c, checkpoint),
		deterministic: o.latents != "" || o.interpolate != nil, ddim: o.invert != "",
	}
	if o.inpaint != "" && o.sampler.none() && !r.reference && r.respacing == "" {
		o.sampler.name, o.sampler.steps = diffusion.Ancestral.String(), min(inpaintSteps, d.Steps)
	}
	if o.choice, err = o.sampler.choose(r); err != nil {
		return err
	}
	d.TimestepRespacing = o.choice.respacing
	return cli.Usage(d.Validate())
}

// asReference reports whether a command line is one of improved-diffusion's image_sample.py, which
// names the checkpoint by a flag, describes the network by flags, or has a file of bare weights
// without a preset. Then all timesteps are the default.
func (o *sampleOptions) asReference(c *urfave.Context, checkpoint *checkpoint.Checkpoint) bool {
	config := runconfig.Defaults()
	return c.IsSet(modelPath) || cli.AnySet(c, cli.NetworkOptions(&config)) || checkpoint.Bare && o.preset == ""
}
