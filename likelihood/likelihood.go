// Package likelihood evaluates the variational bound on the negative log-likelihood of images
// (equation 4 of the paper), batch by batch, in one process or several. It is the one loop that
// `iddpm nll`, the figures and the held-out evaluation during training share, with one
// convention for the noise: the same seed and images give the same bound in all of them.
package likelihood

import (
	"context"
	"errors"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/streams"
)

// Evaluation is a set of images to evaluate, and how.
type Evaluation struct {
	Diffusion *diffusion.GaussianDiffusion
	Denoise   diffusion.Denoiser // the network, or the conditional mean of a reference model

	Count     int // images
	BatchSize int // images per batch in each process
	// Batch returns images first to first+n-1 in the caller's scope: x_0 in [-1, 1], [n, C, H, W], and
	// their condition.
	Batch func(first, n int) (x gotorch.Tensor, cond diffusion.Cond, err error)

	// Seed of the noise that takes x_0 to x_t: stream [streams.SampleNoise], or
	// [streams.UpsampleNoise] with low-resolution images, timestep t, index of the image.
	Seed           uint64
	NoClipDenoised bool                  // do not clip the predicted x_0 to [-1, 1]
	Group          *distributed.Group    // the processes that work together; nil: this one alone
	GraphCache     *diffusion.GraphCache // for all batches; nil: one per batch

	// Progress, if not nil, is called after every timestep t of the batch that begins with
	// image first. Its error ends the evaluation.
	Progress func(first, t int) error
	// Check, if not nil, is called with each batch of this process before it counts. Its error ends
	// the evaluation.
	Check func(first, n int, b diffusion.BPD) error
	// AfterRound, if not nil, is called in all processes whenever each has added a batch to the sum. Its
	// error must be the same in all processes, and ends the evaluation.
	AfterRound func() error
}

// Add adds the bounds of the images from number sum.Len() on to sum, in order. Of several processes
// each evaluates every n-th batch, and all have the same sum. If ctx ends or an error occurs, sum
// holds the whole rounds so far. It must run on the tensor thread.
func (e Evaluation) Add(ctx context.Context, sum *diffusion.BPDSum) error {
	if e.BatchSize < 1 {
		return errors.New("the batch size must be above 0")
	}
	for sum.Len() < e.Count {
		if err := e.round(ctx, sum); err != nil {
			return err
		}
		if e.AfterRound == nil {
			continue
		}
		if err := e.AfterRound(); err != nil {
			return err
		}
	}
	return nil
}

// round evaluates a batch in each process and gathers them.
func (e Evaluation) round(ctx context.Context, sum *diffusion.BPDSum) (err error) {
	var mine diffusion.BPDSum
	first := sum.Len() + e.Group.Rank()*e.BatchSize
	if n := min(e.BatchSize, e.Count-first); n > 0 {
		gotorch.Scope(func() { err = e.batch(ctx, first, n, &mine) })
	}
	if err = e.Group.SyncResult(ctx, err); err != nil {
		return err
	}
	all, err := distributed.AllGather(e.Group, mine)
	for _, s := range all {
		if s.Len() > 0 {
			sum.Join(s)
		}
	}
	return err
}

// batch evaluates n images.
func (e Evaluation) batch(ctx context.Context, first, n int, sum *diffusion.BPDSum) error {
	x, cond, err := e.Batch(first, n)
	if err != nil {
		return err
	}
	noise := diffusion.NoiseSource{Device: x.Device(), Seed: e.Seed, Stream: streams.SampleNoise, FirstImage: int64(first), Shape: x.Shape()}
	if cond.LowRes.Defined() {
		noise.Stream = streams.UpsampleNoise
	}
	o := diffusion.BPDOptions{Noise: noise.At, NoClipDenoised: e.NoClipDenoised, GraphCache: e.GraphCache}
	if e.Progress != nil {
		o.Progress = func(t int) error { return e.Progress(first, t) }
	}
	b, err := e.Diffusion.CalcBPD(ctx, e.Denoise, x, cond, o)
	if err == nil && e.Check != nil {
		err = e.Check(first, n, b)
	}
	if err == nil {
		sum.Add(b)
	}
	return err
}
