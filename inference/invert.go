package inference

import (
	"cmp"
	"context"
	"math"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/train/engine"
)

// InvertOptions say how to invert images. The zero value inverts as the reference does.
type InvertOptions struct {
	BatchSize int     // images per batch; 0: 16
	Classes   []int64 // labels of the images, used in turn; needed by a class-conditional network
	Unclipped bool    // do not clip the predicted x_0 to [-1, 1]
	Refine    int     // fixed-point iterations per step, for more accurate latents
	// Progress, if not nil, is called after every step. Its error ends the inversion.
	Progress func(Progress) error
}

// Inversion is the result of [Model.Invert].
type Inversion struct {
	Latents       Latents   // x_T of each image
	Reconstructed Images    // what DDIM generates from the latents
	PSNR          []float64 // of each reconstruction, dB; at most 54.2, for equal images
}

// Invert finds the latents from which DDIM with eta 0 generates the given images, and generates
// these. This process works alone, whatever its group. If ctx ends or an error occurs, whole batches
// so far are returned with the error.
func (m *Model) Invert(ctx context.Context, images Images, o InvertOptions) (all Inversion, err error) {
	all.Reconstructed.Size = m.config.ImageSize
	switch {
	case m.config.SuperRes():
		return all, ErrNeedsImages
	case m.config.ClassCond && len(o.Classes) == 0:
		return all, ErrNeedsClasses
	case images.Size != m.config.ImageSize:
		return all, &SizeError{What: "images", Got: images.Size, Want: m.config.ImageSize}
	}
	if err := m.checkLabels(o.Classes); err != nil {
		return all, err
	}
	o.BatchSize = cmp.Or(o.BatchSize, defaultBatchSize)
	steps := 2 * m.process.NumTimesteps()
	if o.Refine == 0 {
		steps-- // without fixed-point iterations the inversion has a step less
	}
	count := counter{callback: o.Progress, count: images.Len(), perRound: o.BatchSize, perBatch: steps}
	err = m.group.OnTensorThread(func() (err error) {
		for first := 0; first < images.Len() && err == nil; first += o.BatchSize {
			batch := images.Slice(first, min(o.BatchSize, images.Len()-first))
			gotorch.Scope(func() { err = m.invertBatch(ctx, first, batch, o, &count, &all) })
		}
		return err
	})
	return all, err
}

func (m *Model) invertBatch(ctx context.Context, first int, batch Images, o InvertOptions, count *counter, all *Inversion) error {
	var labels []int64
	if m.config.ClassCond {
		for i := range batch.Len() {
			labels = append(labels, o.Classes[(first+i)%len(o.Classes)])
		}
	}
	cond, progress := m.cond(labels), count.step(first, m.process.NumTimesteps())
	latent, err := m.process.InvertLoop(ctx, m.denoise, batch.tensor(m.device), cond,
		diffusion.InvertOptions{NoClipDenoised: o.Unclipped, Refine: o.Refine, Progress: progress, GraphCache: &m.graphs})
	if err != nil {
		return err
	}
	x, err := m.process.SampleLoop(ctx, m.denoise, latent, cond,
		diffusion.SampleOptions{Sampler: diffusion.DDIM, NoClipDenoised: o.Unclipped, Progress: progress, GraphCache: &m.graphs})
	if err != nil {
		return err
	}
	if !engine.Finite(x) {
		return &NonFiniteError{What: "samples", First: first, Last: first + batch.Len() - 1}
	}
	made := Images{Size: batch.Size, Pixels: engine.TensorToPixels(x), Labels: labels}
	for i := range made.Len() {
		all.PSNR = append(all.PSNR, psnr(batch.Image(i), made.Image(i)))
	}
	all.Latents.add(latent, labels)
	all.Reconstructed.Append(made.Pixels, labels)
	return nil
}

// psnr returns the peak signal-to-noise ratio of two images of bytes, dB. The mean squared
// error is at least 1/4, so that equal images have a finite ratio.
func psnr(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255/max(sum/float64(len(a)), 1./4))
}
