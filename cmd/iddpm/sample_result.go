package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat"

	"iddpm/diffusion"
	"iddpm/inference"
	"iddpm/internal/cli"
)

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
	Sampler         string  `json:"sampler"`
	Timesteps       int     `json:"timesteps"`
	Evaluations     int     `json:"evaluations"`          // of the network, per image
	FullChain       int     `json:"full_chain,omitempty"` // timesteps of the full chain, if no flag chose this sampler
	Seed            uint64  `json:"seed"`
	Seconds         float64 `json:"seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`

	Base     string    `json:"base_samples,omitempty"`      // .npz of the low-resolution samples, if this command generated them
	Progress string    `json:"denoised_progress,omitempty"` // .png
	Latents  string    `json:"latents,omitempty"`           // .npz
	Inverted string    `json:"inverted,omitempty"`          // .png
	PSNR     []float64 `json:"psnr,omitempty"`              // of every image, dB

	fullChainTimes float64 // how many times as long the full chain would take
	spacing        diffusion.Spacing
	files          []string // all that were written
}

// save writes the samples and the other results that flags ask for, without replacing
// those of an earlier command. A folder that was removed meanwhile is created again.
func (o *sampleJob) save(r *sampleResult, made generated) error {
	if err := os.MkdirAll(o.dir, 0o777); err != nil {
		return cli.WriteError(o.dir, err)
	}
	r.files = o.name(r, made)
	err := errors.Join(saveArrays(r.Samples, made.Images), saveGrid(r.Grid, made.Images, 0))
	if err == nil && r.Progress != "" {
		err = saveGrid(r.Progress, o.strip.Images(), o.strip.Columns())
	}
	if err != nil || made.inversion == nil {
		return err
	}
	r.PSNR = made.inversion.PSNR
	sheet := invertedSheet(*o.originals, *made.inversion)
	return errors.Join(saveGrid(r.Inverted, sheet, invertedColumns), saveLatents(r.Latents, made.inversion.Latents))
}

// name sets the names of the files, samples_NxHxWx3.npz as in the reference, and
// returns all of them.
func (o *sampleJob) name(r *sampleResult, made generated) (files []string) {
	size := fmt.Sprintf("%dx%d", made.Size, made.Size)
	name := fmt.Sprintf("samples_%dx%sx3", made.Len(), size)
	if o.first > 0 { // parts of one set, which may be written at the same time
		name += fmt.Sprintf("-from-%d", o.first)
	}
	r.Samples, r.Grid = name+".npz", name+".png"
	if o.strip != nil && o.strip.Rows() > 0 {
		r.Progress = fmt.Sprintf("progress_%dx%s.png", o.strip.Rows(), size)
	}
	if made.inversion != nil {
		r.Inverted = fmt.Sprintf("inverted_%dx%s.png", made.Len(), size)
		r.Latents = latentsName(made.inversion.Latents)
	}
	names := []*string{&r.Samples, &r.Grid, &r.Progress, &r.Inverted, &r.Latents}
	cli.FreePaths(o.dir, names...)
	for _, name := range names {
		if *name != "" {
			files = append(files, *name)
		}
	}
	return files
}

func (r sampleResult) text(w io.Writer) error {
	var t strings.Builder
	fmt.Fprintf(&t, "images      %d in %.1f s (%.3g a second)\nsamples     %s\ngrid        %s\n",
		r.NumSamples, r.Seconds, r.ImagesPerSecond, r.Samples, r.Grid)
	if r.FullChain > 0 {
		fmt.Fprintf(&t, "sampler     %s, %d steps by --spacing %s\nfull chain  %d steps by --sampler ddpm, about %s\n", r.Sampler, r.Timesteps, r.spacing, r.FullChain,
			about(time.Duration(r.Seconds*r.fullChainTimes*float64(time.Second))))
	}
	if r.Base != "" {
		fmt.Fprintf(&t, "made from   %s\n", r.Base)
	}
	if r.Progress != "" {
		fmt.Fprintf(&t, "progress    %s\n", r.Progress)
	}
	if r.Latents != "" {
		fmt.Fprintf(&t, "latents     %s\ncompared    %s\nPSNR        %.2f dB (%.2f to %.2f)\n",
			r.Latents, r.Inverted, stat.Mean(r.PSNR, nil), slices.Min(r.PSNR), slices.Max(r.PSNR))
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// generated is the result of a job.
type generated struct {
	inference.Samples
	inversion *inference.Inversion // of --invert; else nil
}

// inPart is errSavedInPart, with the flags that generate the rest where that is possible.
func (o *sampleJob) inPart(done int) error {
	if o.originals != nil || o.given != nil || o.interpolate != nil || o.base != nil || o.cascade.path != "" {
		return errSavedInPart
	}
	return fmt.Errorf("%w: %d of %d; --first-sample %d --num-samples %d generates the rest", errSavedInPart, done, o.count, o.first+done, o.count-done)
}

// about returns a duration in words of two digits or more, such as 12m30s.
func about(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
