package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v2"

	"iddpm/inference"
	"iddpm/internal/cli"
	"iddpm/train"
)

// sampleDistributed generates the images, in this process or in several.
func (s *session) sampleDistributed(c *urfave.Context, path string, o *sampleOptions) error {
	if o.invert != "" && s.group.Size() > 1 {
		return s.group.SyncError(cli.Errorf("--invert runs in one process: omit --processes, or start it without a launcher"))
	}
	remotes := s.remotes(o.remoteOptions)
	checkpoint, err := s.loadOnLeader(path, func(path string) (*train.Checkpoint, error) { return checkpointWithFlags(c, remotes, path, o.preset) })
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
	s.warnOfUntrained(job.classes, checkpoint)
	second, err := s.loadOnLeader(o.cascade.path, func(path string) (*train.Checkpoint, error) {
		return o.cascade.load(c.Context, remotes, path, checkpoint)
	})
	if err != nil {
		return err
	}
	release := func() {}
	err = s.group.OnLeader(func() (err error) { release, err = cli.MakeFolder(job.dir, "-o"); return err })
	if err != nil {
		return err
	}
	defer release()
	result, err := s.cascade(c.Context, checkpoint, second, job)
	if result.NumSamples == 0 || !s.group.IsLeader() {
		return err
	}
	return errors.Join(err, s.emit(result, result.text), remotes.Publish(c.Context, path, result.files))
}

// sampleJob is the work that the flags of sample describe, with the files that they name read.
type sampleJob struct {
	*sampleOptions                    // as given
	count          int                // images to generate
	dir            string             // folder of the results
	classes        []int64            // labels, used in turn; empty: at random
	given          *inference.Latents // x_T; nil: noise
	originals      *inference.Images  // to invert; nil: none
	base           *inference.Images  // to upsample; nil: none
	strip          *inference.Strip   // of --denoised-progress; nil: none
}

// job reads the files that flags name.
func (o *sampleOptions) job(c *urfave.Context, checkpoint *train.Checkpoint) (job *sampleJob, err error) {
	job = &sampleJob{sampleOptions: o, count: o.number, dir: cmp.Or(o.dir, samplesDir(checkpoint))}
	if job.classes, err = classLabels(o.class, checkpoint); err != nil {
		return nil, err
	}
	if job.base, err = openBase(o.baseSamples, checkpoint, job.classes); err != nil {
		return nil, err
	}
	if job.base != nil {
		if err := o.checkSuperRes(c); err != nil {
			return nil, err
		}
	}
	if o.progress {
		job.strip = new(inference.Strip)
	}
	return job, job.openStart(checkpoint, !c.IsSet("num-samples"))
}

// openStart reads the images or latents from which the job starts, and sets the count of images: all
// of these, or as many as --num-samples says.
func (j *sampleJob) openStart(checkpoint *train.Checkpoint, all bool) (err error) {
	if j.base != nil && all {
		j.count = j.base.Len()
	}
	switch {
	case j.latents != "":
		if j.given, err = readLatents(j.latents, checkpoint.Config); err != nil {
			return fmt.Errorf("--latents: %w", err)
		}
		if all || j.count > j.given.Len() {
			j.count = j.given.Len()
		}
	case j.invert != "":
		limit := j.number
		if all {
			limit = 0
		}
		if j.originals, err = openOriginals(j.invert, limit, checkpoint, j.classes); err == nil {
			j.count = j.originals.Len()
		}
	}
	return err
}

// samplesDir returns the default folder for samples of a checkpoint: in its run folder, if it is
// in one.
func samplesDir(c *train.Checkpoint) string {
	return inRunFolder(c, "samples", fmt.Sprintf("step-%06d", c.Step))
}

// errSavedInPart says that a command was interrupted after some of the images.
var errSavedInPart = errors.New("interrupted; the images done so far are saved")

// sample generates images and writes them: result.NumSamples are in the files. The
// error is errSavedInPart if an interrupt left only some of them.
func (s *session) sample(ctx context.Context, checkpoint *train.Checkpoint, o *sampleJob) (result sampleResult, made generated, err error) {
	result = sampleResult{
		Checkpoint: checkpoint.Path, Step: checkpoint.Step,
		ImageSize: checkpoint.Config.Model.ImageSize, Seed: o.seed, FirstSample: o.first,
	}
	start := time.Now()
	made, interrupted := s.generate(ctx, checkpoint, o, &result)
	s.screen.Done()
	lost := s.group.Lost()
	if interrupted != nil && (made.Count == 0 || !lost && !errors.Is(interrupted, context.Canceled)) {
		return result, made, interrupted
	}
	seconds := time.Since(start).Seconds()
	if err := s.group.OnLeader(func() error { return o.save(&result, made) }); err != nil {
		return result, made, err
	}
	result.NumSamples, result.Seconds = made.Count, seconds
	result.ImagesPerSecond = float64(result.NumSamples) / seconds
	switch {
	case lost:
		err = fmt.Errorf("%w\n%v", interrupted, o.inPart(made.Count))
	case interrupted != nil:
		err = o.inPart(made.Count)
	}
	return result, made, err
}

// inPart is errSavedInPart, with the flags that generate the rest where that is possible.
func (o *sampleJob) inPart(done int) error {
	if o.originals != nil || o.given != nil || o.interpolate != nil || o.base != nil || o.cascade.path != "" {
		return errSavedInPart
	}
	return fmt.Errorf("%w: %d of %d; --first-sample %d --num-samples %d generates the rest", errSavedInPart, done, o.count, o.first+done, o.count-done)
}
