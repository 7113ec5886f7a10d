package main

import (
	"cmp"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"iddpm/checkpoint"
	"iddpm/inference"
	"iddpm/internal/cli"
)

// sampleJob is the work that the flags of sample describe, with the files that they name read.
type sampleJob struct {
	*sampleOptions                        // as given
	count          int                    // images to generate
	dir            string                 // folder of the results
	classes        []int64                // labels, used in turn; empty: at random
	given          *inference.Latents     // x_T; nil: noise
	originals      *inference.Images      // to invert; nil: none
	edit           *inference.Edit        // of --start; nil: none
	inpainting     *inference.Inpaint     // of --inpaint; nil: none
	base           *inference.Images      // to upsample; nil: none
	guide          *checkpoint.Checkpoint // of --guide; nil: none
	classifier     *checkpoint.Checkpoint // of --classifier; nil: none
	strip          *inference.Strip       // of --denoised-progress; nil: none
}

// job reads the files that flags name.
func (o *sampleOptions) job(c *urfave.Context, checkpoint, classifier *checkpoint.Checkpoint) (job *sampleJob, err error) {
	job = &sampleJob{sampleOptions: o, count: o.number, dir: cmp.Or(o.dir, samplesDir(checkpoint)), classifier: classifier}
	if err := checkClasses(checkpoint, classifier); err != nil {
		return nil, err
	}
	if err := o.guidance.check(checkpoint); err != nil {
		return nil, err
	}
	if job.classes, err = o.classSet(checkpoint, classifier).labels(o.class); err != nil {
		return nil, err
	}
	if job.base, err = openBase(o.baseSamples, checkpoint, job.classes); err != nil {
		return nil, err
	}
	if job.base != nil {
		if err := checkSuperRes(c); err != nil {
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
func (j *sampleJob) openStart(checkpoint *checkpoint.Checkpoint, all bool) error {
	if j.base != nil && all {
		j.count = j.base.Len()
	}
	switch {
	case j.latents != "":
		return j.openLatents(checkpoint, all)
	case j.inpaint != "":
		return j.openInpainting(checkpoint, all)
	case j.start != "":
		return j.openEdit(checkpoint, all)
	case j.invert != "":
		return j.openInversion(checkpoint, all)
	}
	return nil
}

// openLatents reads --latents.
func (j *sampleJob) openLatents(checkpoint *checkpoint.Checkpoint, all bool) (err error) {
	if j.given, err = readLatents(j.latents, checkpoint.Config); err != nil {
		return fmt.Errorf("--latents: %w", err)
	}
	if all || j.count > j.given.Len() {
		j.count = j.given.Len()
	}
	return nil
}

// openInpainting reads --inpaint and --mask.
func (j *sampleJob) openInpainting(checkpoint *checkpoint.Checkpoint, all bool) error {
	images, err := openOriginals("--inpaint", j.inpaint, 0, checkpoint)
	if err != nil {
		return err
	}
	masks, err := openOriginals("--mask", j.mask, 0, checkpoint)
	if err != nil {
		return err
	}
	j.inpainting = &inference.Inpaint{Images: *images, Masks: *masks, Resamplings: j.resamplings, Jump: j.jump}
	if all {
		j.count = images.Len()
	}
	return nil
}

// openEdit reads --start.
func (j *sampleJob) openEdit(checkpoint *checkpoint.Checkpoint, all bool) error {
	images, err := openOriginals("--start", j.start, 0, checkpoint)
	if err != nil {
		return err
	}
	j.edit = &inference.Edit{Images: *images, Strength: j.strength}
	if all {
		j.count = images.Len()
	}
	return nil
}

// openInversion reads --invert.
func (j *sampleJob) openInversion(checkpoint *checkpoint.Checkpoint, all bool) (err error) {
	limit := j.number
	if all {
		limit = 0
	}
	if j.originals, err = openOriginals("--invert", j.invert, limit, checkpoint); err != nil {
		return err
	}
	j.count = j.originals.Len()
	if checkpoint.Config.Model.ClassCond && len(j.classes) == 0 {
		return cli.Errorf("--invert: name the classes of the images by --class: one for all images, or one each")
	}
	return nil
}

// samplesDir returns the default folder for samples of a checkpoint: in its run folder, if it is
// in one.
func samplesDir(c *checkpoint.Checkpoint) string {
	return inRunFolder(c, "samples", fmt.Sprintf("step-%06d", c.Step))
}
