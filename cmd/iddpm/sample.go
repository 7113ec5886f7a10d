package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"go.uber.org/zap"
	"gonum.org/v1/gonum/stat"

	"iddpm/train"
)

// sampleOptions are the flags of sample beside those of the network.
type sampleOptions struct {
	sessionOptions
	inferenceOptions
	remoteOptions
	preset    string
	number    int
	first     int // index of the first image
	batchSize int
	ddim      bool
	eta       float64
	class     string
	seed      uint64
	dir       string

	strip       bool
	interpolate []uint64
	latents     string
	invert      string
	refine      int
	baseSamples string
	cascade     cascadeOptions
}

func newSampleOptions() *sampleOptions {
	return &sampleOptions{sessionOptions: defaultSession(), inferenceOptions: defaultInference(), number: 64, batchSize: 16}
}

func (o *sampleOptions) options() []option {
	return append(slices.Concat(o.sessionOptions.options(), o.inferenceOptions.options(categorySampling), o.cascade.options(), o.remoteOptions.options()),
		presetOption(&o.preset), configOption(), o.processesOption(), o.connectOption(),
		option{name: "num-samples", category: categorySampling, value: &o.number, usage: "generate `N` samples"},
		option{name: "first-sample", category: categorySampling, value: &o.first, usage: "start at sample `N` of the seed: to continue a set of samples, or to share it among machines"},
		option{name: "batch-size", category: categorySampling, value: &o.batchSize, usage: "`N` samples per batch in each process; the samples do not depend on it"},
		option{name: "use-ddim", category: categorySampling, value: &o.ddim, usage: "use the DDIM sampler, which needs fewer steps"},
		option{name: "eta", category: categorySampling, value: &o.eta, usage: "DDIM's `ETA`: 0 deterministic, 1 as much noise as ancestral sampling"},
		option{name: "class", category: categorySampling, value: &o.class, standard: "at random", usage: "sample class `NAME` or number, or several in turn, comma-separated"},
		option{name: "seed", category: categorySampling, value: &o.seed, usage: "random seed `N`; sample i is a function of N and i"},
		option{name: "denoised-progress", category: categorySampling, value: &o.strip, usage: "also save a strip of the predicted x_0 along the sampling trajectory"},
		option{name: "interpolate", category: categorySampling, value: &o.interpolate, usage: "interpolate by DDIM from one seed's first sample to another's in --num-samples images: `SEED,SEED`"},
		option{name: "invert", category: categorySampling, local: true, value: &o.invert, usage: "DDIM inversion: find the latents of `IMAGES`: an image, a folder, a zip"},
		option{name: "invert-refine", category: categorySampling, value: &o.refine, usage: "with --invert, `N` fixed-point iterations per step, for more accurate latents"},
		option{name: "base-samples", category: categorySampling, local: true, value: &o.baseSamples, usage: "upsample the images in `FILE_OR_DIR`: an .npz of samples, a folder, a zip"},
		option{name: "latents", category: categorySampling, local: true, value: &o.latents, usage: "start from the latents in `FILE`, written by --invert, instead of noise (with --use-ddim)"},
		option{name: "out-dir", alias: "o", category: categoryRun, local: true, value: &o.dir, standard: "the run's samples/step-N", variable: "OPENAI_LOGDIR", usage: "write to `DIR`"},
	)
}

func (o *sampleOptions) validate() error {
	switch {
	case o.number < 1:
		return wrongUse("num-samples must be above 0, not %d", o.number)
	case o.first < 0:
		return wrongUse("first-sample must not be negative, but is %d", o.first)
	case o.batchSize < 1:
		return wrongUse("batch-size must be above 0, not %d", o.batchSize)
	case !(o.eta >= 0 && o.eta <= 1):
		return wrongUse("eta must be in [0, 1], not %g", o.eta)
	case o.eta > 0 && !o.ddim:
		return wrongUse("eta is DDIM's: add --use-ddim")
	case o.refine < 0:
		return wrongUse("invert-refine must not be negative, but is %d", o.refine)
	case o.refine > 0 && o.invert == "":
		return wrongUse("invert-refine is for --invert")
	}
	return errors.Join(o.validateStart(), o.cascade.validate())
}

// validateStart checks what says where images start from.
func (o *sampleOptions) validateStart() error {
	ways := 0
	for _, chosen := range []bool{o.invert != "", o.latents != "", o.interpolate != nil} {
		if chosen {
			ways++
		}
	}
	switch {
	case ways > 1:
		return wrongUse("choose one of --invert, --latents and --interpolate")
	case ways > 0 && o.first > 0:
		return wrongUse("--first-sample counts what is drawn from noise: leave it out with --invert, --latents and --interpolate")
	case o.latents != "" && (!o.ddim || o.eta > 0):
		return wrongUse("--latents come back by DDIM without noise: add --use-ddim, and no --eta")
	case o.invert != "" && (o.eta > 0 || o.strip):
		return wrongUse("--invert goes with neither --eta nor --denoised-progress")
	case o.interpolate == nil:
		return nil
	case len(o.interpolate) != 2 || o.number < 2:
		return wrongUse("--interpolate needs two seeds, as in 1,2, and --num-samples above 1")
	case !o.ddim || o.eta > 0:
		return wrongUse("--interpolate goes by DDIM without noise: add --use-ddim, and no --eta")
	}
	return nil
}

func (p *program) sampleCommand() *cli.Command {
	config := train.Defaults()
	options := append(networkOptions(&config), newSampleOptions().options()...)
	return &cli.Command{
		Name:      "sample",
		Usage:     "generate images from a checkpoint",
		UsageText: "iddpm sample CKPT_OR_RUN_DIR [FLAGS]",
		Description: `Generates samples with the EMA weights of a checkpoint and writes samples_NxHxWx3.npz, with the
arrays that improved-diffusion writes (arr_0 and, with classes, arr_1), and a PNG grid of the first
of them. Existing files are kept; new ones get a number. A checkpoint holds its configuration; for
a file of bare weights, such as a PyTorch state_dict, pass the model flags or a --preset. Flags
below that are not given default to the checkpoint's settings.

Sample i depends only on the seed and i, so the work can be shared: --first-sample 25000
--num-samples 25000 generates the second half of 50,000, and "iddpm evaluate" reads both files.
On one machine, --processes uses several GPUs and writes one file.

--invert finds the latents of given images (DDIM inversion), writes latents_NxCxHxW.npz,
reconstructs the images and reports the PSNR. A super-resolution model upsamples --base-samples
or, with --upsample, the samples of another model.

Examples:
  iddpm sample runs/001-emoji
  iddpm sample runs/001-emoji --num-samples 16 --timestep-respacing 50 --denoised-progress
  iddpm sample runs/001-emoji --use-ddim --timestep-respacing ddim50 --seed 7
  iddpm sample runs/001-emoji --use-ddim --timestep-respacing ddim50 --interpolate 1,2 --num-samples 8
  iddpm sample runs/001-emoji --timestep-respacing 100 --invert cat.png
  iddpm sample runs/004-custom --base-samples samples_64x64x64x3.npz --use-ddim --timestep-respacing ddim25
  iddpm sample runs/001-emoji --upsample runs/004-custom --upsample-timestep-respacing 50
  iddpm sample cifar10_uncond_50M_500K.pt --preset cifar10 --timestep-respacing 250`,
		Flags:           append(flagsOf(options...), positionalFlag("model-path")),
		HideHelpCommand: true,
		Action:          p.sample,
	}
}

func (p *program) sample(c *cli.Context) error {
	o := newSampleOptions()
	path, err := argument(c, "CKPT_OR_RUN_DIR")
	if err := errors.Join(err, apply(c, o.options())); err != nil {
		return err
	}
	if err := o.validate(); err != nil {
		return err
	}
	return p.distributedSession(c.Context, o.sessionOptions, func(s *session) error { return s.sampleDistributed(c, path, o) })
}

// sampleDistributed draws the images, by this process or by several.
func (s *session) sampleDistributed(c *cli.Context, path string, o *sampleOptions) error {
	if o.invert != "" && s.group.Size() > 1 {
		return s.group.SyncError(wrongUse("--invert is the work of one process: leave out --processes, or the launcher"))
	}
	remotes := s.remotes(o.remoteOptions)
	checkpoint, err := s.loadOnLeader(path, func(path string) (*train.Checkpoint, error) { return remotes.checkpointWithFlags(c, path, o.preset) })
	if err != nil {
		return err
	}
	var job *sampleJob
	err = s.group.LeaderFirst(func() (err error) {
		job, err = o.job(c, checkpoint)
		return err
	})
	if err != nil {
		return err
	}
	s.warnOfUntrained(job.asked, checkpoint)
	second, err := s.loadOnLeader(o.cascade.path, func(path string) (*train.Checkpoint, error) {
		return o.cascade.load(c.Context, remotes, path, checkpoint)
	})
	if err != nil {
		return err
	}
	release := func() {}
	err = s.group.OnLeader(func() (err error) { release, err = makeFolder(job.dir, "-o"); return err })
	if err != nil {
		return err
	}
	defer release()
	result, err := s.cascade(c.Context, checkpoint, second, job)
	if result.NumSamples == 0 || !s.group.IsLeader() {
		return err
	}
	return errors.Join(err, s.emit(result, result.text), remotes.publish(c.Context, path, result.files))
}

// sampleJob is what the flags of sample come to for a checkpoint: with the
// files that they name read.
type sampleJob struct {
	*sampleOptions            // as given
	count          int        // images to draw
	dir            string     // where they go
	asked          []int64    // classes, in turn; empty: at random
	given          *latents   // to start from; nil: noise
	originals      *originals // to invert; nil: none
	denoised       *strip     // to fill; nil: none
	base           *images    // to enlarge; nil: none
	done           int        // images that all processes have drawn
}

// job reads what the flags name.
func (o *sampleOptions) job(c *cli.Context, checkpoint *train.Checkpoint) (job *sampleJob, err error) {
	job = &sampleJob{sampleOptions: o, count: o.number, dir: cmp.Or(o.dir, samplesDir(checkpoint))}
	if job.asked, err = classLabels(o.class, checkpoint); err != nil {
		return nil, err
	}
	if job.base, err = openBase(o.baseSamples, checkpoint, job.asked); err != nil {
		return nil, err
	}
	if job.base != nil {
		if err := o.checkSuperRes(c); err != nil {
			return nil, err
		}
	}
	if o.strip {
		job.denoised = &strip{size: checkpoint.Config.Model.ImageSize}
	}
	return job, job.openGiven(checkpoint, !c.IsSet("num-samples"))
}

// openGiven reads what images are made from beside noise, and counts it: all, or as
// many as were asked for.
func (j *sampleJob) openGiven(checkpoint *train.Checkpoint, all bool) (err error) {
	if j.base != nil && all {
		j.count = j.base.len()
	}
	switch {
	case j.latents != "":
		if j.given, err = readLatents(j.latents, checkpoint.Config); err != nil {
			return fmt.Errorf("--latents: %w", err)
		}
		if all || j.count > j.given.len() {
			j.count = j.given.len()
		}
	case j.invert != "":
		most := j.number
		if all {
			most = 0
		}
		if j.originals, err = openOriginals(j.invert, most, checkpoint, j.asked); err == nil {
			j.count = j.originals.len()
		}
	}
	return err
}

// samplesDir is where samples of a checkpoint go: to its run folder, if it is
// in one.
func samplesDir(c *train.Checkpoint) string {
	return besideRun(c, "samples", fmt.Sprintf("step-%06d", c.Step))
}

// errSavedInPart says that a command was interrupted after some of the images.
var errSavedInPart = errors.New("interrupted; the images done so far are saved")

// sampleResult is what sample prints.
type sampleResult struct {
	Samples         string  `json:"samples"` // .npz
	Grid            string  `json:"grid"`    // .png
	NumSamples      int     `json:"num_samples"`
	FirstSample     int     `json:"first_sample"`
	ImageSize       int     `json:"image_size"`
	Checkpoint      string  `json:"checkpoint"`
	Step            int     `json:"step"`
	Weights         string  `json:"weights"`
	Timesteps       int     `json:"timesteps"`
	Seed            uint64  `json:"seed"`
	Seconds         float64 `json:"seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`

	Base     string    `json:"base_samples,omitempty"`      // .npz of what was enlarged, where this command drew it
	Progress string    `json:"denoised_progress,omitempty"` // .png
	Latents  string    `json:"latents,omitempty"`           // .npz
	Inverted string    `json:"inverted,omitempty"`          // .png
	PSNR     []float64 `json:"psnr,omitempty"`              // of every image, dB

	files []string // all that were written
}

// sample draws images and writes them: result.NumSamples are in the files. The
// error is errSavedInPart where an interrupt has left some of them.
func (s *session) sample(ctx context.Context, checkpoint *train.Checkpoint, o *sampleJob) (result sampleResult, drawn *images, err error) {
	drawn = &images{size: checkpoint.Config.Model.ImageSize}
	result = sampleResult{
		Checkpoint: checkpoint.Path, Step: checkpoint.Step,
		ImageSize: drawn.size, Seed: o.seed, FirstSample: o.first,
	}
	start := time.Now()
	interrupted := s.draw(ctx, checkpoint, o, &result, drawn)
	s.screen.done()
	lost := s.group.Lost()
	if interrupted != nil && (o.done == 0 || !lost && !errors.Is(interrupted, context.Canceled)) {
		return result, drawn, interrupted
	}
	seconds := time.Since(start).Seconds()
	if err := s.group.OnLeader(func() error { return o.save(&result, drawn) }); err != nil {
		return result, drawn, err
	}
	result.NumSamples, result.Seconds = o.done, seconds
	result.ImagesPerSecond = float64(result.NumSamples) / seconds
	switch {
	case lost:
		err = fmt.Errorf("%w\n%v", interrupted, o.inPart(o.done))
	case interrupted != nil:
		err = o.inPart(o.done)
	}
	return result, drawn, err
}

// inPart is errSavedInPart, with how to go on where that is possible.
func (o *sampleJob) inPart(done int) error {
	if o.originals != nil || o.given != nil || o.interpolate != nil || o.base != nil || o.cascade.path != "" {
		return errSavedInPart
	}
	return fmt.Errorf("%w: %d of %d; --first-sample %d --num-samples %d draws the rest", errSavedInPart, done, o.count, o.first+done, o.count-done)
}

// save writes the samples and the other results that flags ask for, without replacing
// those of an earlier command. A folder that was removed meanwhile is created again.
func (o *sampleJob) save(r *sampleResult, drawn *images) error {
	if err := os.MkdirAll(o.dir, 0o777); err != nil {
		return cannotWrite(o.dir, err)
	}
	r.files = o.name(r, drawn)
	err := errors.Join(drawn.saveArrays(r.Samples), drawn.saveGrid(r.Grid))
	if err == nil && r.Progress != "" {
		sheet := o.denoised.sheet()
		err = sheet.saveGrid(r.Progress)
	}
	if err != nil || o.originals == nil {
		return err
	}
	r.PSNR = o.originals.psnr
	sheet := o.originals.sheet(drawn)
	return errors.Join(sheet.saveGrid(r.Inverted), o.originals.latents.save(r.Latents))
}

// name says what the files are called, samples_NxHxWx3.npz as the reference does, and
// returns all of them.
func (o *sampleJob) name(r *sampleResult, drawn *images) (files []string) {
	size := fmt.Sprintf("%dx%d", drawn.size, drawn.size)
	name := fmt.Sprintf("samples_%dx%sx3", drawn.len(), size)
	if o.first > 0 { // parts of a draw, which may end at the same time
		name += fmt.Sprintf("-from-%d", o.first)
	}
	r.Samples, r.Grid = name+".npz", name+".png"
	if o.denoised != nil && o.denoised.rows > 0 {
		r.Progress = fmt.Sprintf("progress_%dx%s.png", o.denoised.rows, size)
	}
	if o.originals != nil {
		r.Inverted = fmt.Sprintf("inverted_%dx%s.png", drawn.len(), size)
		r.Latents = o.originals.latents.name()
	}
	names := []*string{&r.Samples, &r.Grid, &r.Progress, &r.Inverted, &r.Latents}
	unused(o.dir, names...)
	for _, name := range names {
		if *name != "" {
			files = append(files, *name)
		}
	}
	return files
}

// draw draws the images on the tensor thread.
func (s *session) draw(ctx context.Context, checkpoint *train.Checkpoint, o *sampleJob, result *sampleResult, drawn *images) error {
	s.setThreads(o.threads)
	return s.group.OnTensorThread(func() error {
		sampler, err := s.newSampler(checkpoint, o)
		if err = s.group.SyncError(err); err != nil {
			return err
		}
		defer sampler.Free()
		result.Weights, result.Timesteps = sampler.weights, sampler.diffusion.NumTimesteps()
		s.log.Info("sampling", zap.String("checkpoint", result.Checkpoint), zap.Int("step", result.Step), zap.String("weights", result.Weights),
			zap.Int("images", o.count), zap.Int("timesteps", result.Timesteps), zap.Stringer("device", s.device))
		if o.originals != nil {
			err = sampler.invert(ctx, drawn)
			o.done = drawn.len()
			return err
		}
		return sampler.all(ctx, drawn)
	})
}

func (r sampleResult) text(w io.Writer) error {
	_, err := fmt.Fprintf(w, "images    %d in %.1f s (%.3g a second)\nsamples     %s\ngrid        %s\n",
		r.NumSamples, r.Seconds, r.ImagesPerSecond, r.Samples, r.Grid)
	if r.Base != "" {
		fmt.Fprintf(w, "made from   %s\n", r.Base)
	}
	if r.Progress != "" {
		fmt.Fprintf(w, "progress    %s\n", r.Progress)
	}
	if r.Latents != "" {
		fmt.Fprintf(w, "latents     %s\nbeside      %s\nPSNR        %.2f dB (%.2f to %.2f)\n",
			r.Latents, r.Inverted, stat.Mean(r.PSNR, nil), slices.Min(r.PSNR), slices.Max(r.PSNR))
	}
	return err
}
