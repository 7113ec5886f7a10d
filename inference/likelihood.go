package inference

import (
	"cmp"
	"context"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/likelihood"
	"iddpm/train/engine"
)

// LikelihoodOptions say how to evaluate the bound. The zero value evaluates with seed 0.
type LikelihoodOptions struct {
	BatchSize int    // images per batch in each process; 0: 16
	Seed      uint64 // of the noise; that of an image is a function of Seed and its index
	Unclipped bool   // do not clip the predicted x_0 to [-1, 1]

	// From is the sum of an interrupted evaluation of the same images with the same options, to resume.
	From diffusion.BPDSum
	// Progress, if not nil, is called after every timestep. Its error ends the evaluation.
	Progress func(Progress) error
	// AfterRound, if not nil, is called in all processes with the sum so far whenever each process has
	// added a batch. Its error must be the same in all of them, and ends the evaluation.
	AfterRound func(diffusion.BPDSum) error
}

// ImageSource reads n images from number first on, with labels if the network is class-conditional.
type ImageSource func(first, n int) (Images, error)

// Source returns the images as an [ImageSource].
func (p *Images) Source() ImageSource {
	return func(first, n int) (Images, error) { return p.Slice(first, n), nil }
}

// Likelihood evaluates the variational bound on the negative log-likelihood of count images, bits/dim:
// every term of equation 4, one evaluation of the network per image and timestep. Several processes
// evaluate a batch each at a time, and all return the same sum. If ctx ends or an error occurs, the sum
// so far is returned with the error. A bound that is not finite is a [*NonFiniteError].
func (m *Model) Likelihood(ctx context.Context, images ImageSource, count int, o LikelihoodOptions) (diffusion.BPDSum, error) {
	sum, size := o.From, cmp.Or(o.BatchSize, defaultBatchSize)
	perRound := size * m.group.Size()
	steps := counter{callback: o.Progress, count: count - sum.Len(), perRound: perRound, perBatch: m.process.NumTimesteps()}
	e := likelihood.Evaluation{
		Diffusion: m.process, Denoise: m.denoise, Count: count, BatchSize: size,
		Batch: func(first, n int) (gotorch.Tensor, diffusion.Cond, error) { return m.batch(images, first, n) },
		Seed:  o.Seed, NoClipDenoised: o.Unclipped, Group: m.group, GraphCache: &m.graphs,
		Check: checkBound,
	}
	if o.Progress != nil {
		e.Progress = func(first, t int) error {
			return steps.step(first, m.process.NumTimesteps())(t, gotorch.Tensor{})
		}
	}
	if o.AfterRound != nil {
		e.AfterRound = func() error { return o.AfterRound(sum) }
	}
	err := m.group.OnTensorThread(func() error { return e.Add(ctx, &sum) })
	return sum, err
}

// batch returns images as the network's input.
func (m *Model) batch(images ImageSource, first, n int) (x gotorch.Tensor, cond diffusion.Cond, err error) {
	batch, err := images(first, n)
	switch {
	case err != nil:
		return x, cond, err
	case batch.Size != m.config.ImageSize:
		return x, cond, &SizeError{What: "images", Got: batch.Size, Want: m.config.ImageSize}
	case m.config.ClassCond && len(batch.Labels) != n:
		return x, cond, ErrNeedsClasses
	}
	if err := m.checkLabels(batch.Labels); err != nil {
		return x, cond, err
	}
	x, cond = batch.tensor(m.device), m.cond(batch.Labels)
	cond.LowRes = m.config.LowRes(x)
	return x, cond, nil
}

// checkBound refuses a bound that is not finite.
func checkBound(first, n int, b diffusion.BPD) error {
	if engine.Finite(b.Total) {
		return nil
	}
	return &NonFiniteError{What: "bound", First: first, Last: first + n - 1}
}
