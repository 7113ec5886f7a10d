package main

import (
	"context"
	"errors"

	urfave "github.com/urfave/cli/v2"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/internal/runs"
	"iddpm/runconfig"
)

func (p *program) sampleCommand() *urfave.Command {
	config := runconfig.Defaults()
	options := append(cli.NetworkOptions(&config), newSampleOptions().options()...)
	return &urfave.Command{
		Name:      "sample",
		Usage:     "generate images from a checkpoint",
		UsageText: "iddpm sample CKPT_OR_RUN_DIR [FLAGS]",
		Description: `Generates samples with the EMA weights of a checkpoint and writes samples_NxHxWx3.npz, with the
arrays that improved-diffusion writes (arr_0 and, with classes, arr_1), and a PNG grid of the first
of them. Existing files are kept; new ones get a number. A checkpoint holds its configuration.
The network of bare weights, such as a PyTorch state_dict, is identified by their parameters; published
ones of improved-diffusion and guided-diffusion are recognised, and others may need --image-size, heads
and diffusion flags, or a --preset. Flags below that are not given default to the checkpoint's settings.

Without a flag that chooses a sampler or timesteps, it takes dpmpp-2m-sde in 25 steps, evenly spaced
in log-SNR but for the noisiest part, and says so: such samples look like those of all timesteps, in a fraction of the time.
With flags of improved-diffusion's image_sample.py, such as --model_path, the model's or --timestep_respacing, all is as there.

Sample i depends only on the seed and i, so the work can be shared: --first-sample 25000
--num-samples 25000 generates the second half of 50,000, and "iddpm evaluate" reads both files.
On one machine, --processes uses several GPUs and writes one file.

--guidance W above 1 strengthens the influence of the class in a model trained with
--class-dropout (classifier-free guidance), or that of the model itself over a weaker --guide. --classifier conditions
samples on their class by a classifier of noisy images, also samples of a model without classes.

--invert finds the latents of given images (DDIM inversion), writes latents_NxCxHxW.npz,
reconstructs the images and reports the PSNR. --start changes given images (SDEdit): it samples from
their noised versions, by --strength between the images and new samples. --inpaint keeps the pixels
that are white in --mask, and generates the others (RePaint). A super-resolution model upsamples --base-samples
or, with --upsample, the samples of another model.

Examples:
  iddpm sample runs/001-emoji
  iddpm sample runs/001-emoji --num-samples 16 --timestep-respacing 50 --denoised-progress
  iddpm sample runs/001-emoji --sampler heun --sampling-steps 10 --seed 7
  iddpm sample runs/001-emoji --sampler ddpm
  iddpm sample runs/001-emoji --use-ddim --timestep-respacing ddim50 --interpolate 1,2 --num-samples 8
  iddpm sample runs/003-photos --class cat --guidance 2 --guidance-interval 0.2,3
  iddpm sample 64x64_diffusion.pt --classifier 64x64_classifier.pt --timestep-respacing 250
  iddpm sample runs/001-emoji --timestep-respacing 100 --invert cat.png
  iddpm sample runs/001-emoji --start sketches --strength 0.7
  iddpm sample runs/001-emoji --inpaint photo.png --mask known.png --num-samples 8
  iddpm sample runs/004-photos --base-samples samples_64x64x64x3.npz --use-ddim --timestep-respacing ddim25
  iddpm sample runs/001-emoji --upsample runs/004-photos --upsample-timestep-respacing 50
  iddpm sample cifar10_uncond_50M_500K.pt --timestep-respacing 250`,
		Flags:           append(cli.FlagsOf(options...), cli.PositionalFlag(modelPath)),
		HideHelpCommand: true,
		Action:          p.sample,
	}
}

func (p *program) sample(c *urfave.Context) error {
	o := newSampleOptions()
	path, err := argument(c, "CKPT_OR_RUN_DIR")
	if err := errors.Join(err, cli.Apply(c, o.options())); err != nil {
		return err
	}
	if err := o.validate(); err != nil {
		return err
	}
	o.byClassifier.given = c.IsSet
	return p.distributedSession(c.Context, o.sessionOptions, func(s *session) error { return s.sampleDistributed(c, path, o) })
}

// sampleDistributed generates the images, in this process or in several.
func (s *session) sampleDistributed(c *urfave.Context, path string, o *sampleOptions) error {
	if o.invert != "" && s.group.Size() > 1 {
		return s.group.SyncError(cli.Errorf("--invert runs in one process: omit --processes, or start it without a launcher"))
	}
	remotes := s.remotes(o.remoteOptions)
	trained, job, err := s.openJob(c, remotes, path, o)
	if err != nil {
		return err
	}
	second, err := s.openCascadeAndGuide(c.Context, remotes, trained, job)
	if err != nil {
		return err
	}
	release := func() {}
	err = s.group.OnLeader(func() (err error) { release, err = cli.MakeFolder(job.dir, "-o"); return err })
	if err != nil {
		return err
	}
	defer release()
	result, err := s.cascade(c.Context, trained, second, job)
	if result.NumSamples == 0 || !s.group.IsLeader() {
		return err
	}
	return errors.Join(err, s.emit(result, result.text), remotes.Publish(c.Context, path, result.files))
}

// openJob loads the network of a checkpoint and the classifier that guides it, and reads the files that
// other flags name.
func (s *session) openJob(c *urfave.Context, remotes *runs.Remotes, path string, o *sampleOptions) (trained *checkpoint.Checkpoint, job *sampleJob, err error) {
	trained, err = s.loadOnLeader(path, func(path string) (*checkpoint.Checkpoint, error) {
		trained, err := checkpointWithFlags(c, remotes, path, o.preset)
		if err == nil {
			err = o.choose(c, trained)
		}
		return trained, err
	})
	if err != nil {
		return nil, nil, err
	}
	classifier, err := s.loadOnLeader(o.byClassifier.path, func(path string) (*checkpoint.Checkpoint, error) {
		return o.byClassifier.load(c.Context, remotes, path, trained)
	})
	if err != nil {
		return nil, nil, err
	}
	err = s.group.LeaderFirst(func() (err error) {
		job, err = o.job(c, trained, classifier)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if trained.Config.Model.ClassCond {
		s.warnOfUntrained(job.classes, trained)
	}
	return trained, job, nil
}

// openCascadeAndGuide loads the network that upsamples the samples of trained, nil if there is none, and
// into the job the one that guides.
func (s *session) openCascadeAndGuide(ctx context.Context, remotes *runs.Remotes, trained *checkpoint.Checkpoint, job *sampleJob) (second *checkpoint.Checkpoint, err error) {
	o := job.sampleOptions
	second, err = s.loadOnLeader(o.cascade.path, func(path string) (*checkpoint.Checkpoint, error) {
		return o.cascade.load(ctx, remotes, path, trained, o.choice.ours)
	})
	if err != nil {
		return nil, err
	}
	job.guide, err = s.loadOnLeader(o.guidance.path, func(path string) (*checkpoint.Checkpoint, error) {
		return o.guidance.load(ctx, remotes, path, trained)
	})
	return second, err
}
