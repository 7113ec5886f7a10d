package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
	"gonum.org/v1/gonum/stat"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/train"
)

// originals are the images of --invert, and what has become of them.
type originals struct {
	images            // as they were
	latents latents   // what they are made from
	psnr    []float64 // of what sampling makes of the latents, dB
	noise   images    // the latents as images, to look at
}

// openOriginals reads the images to invert: n, spread over the set, or
// all of them (0, or there are no more).
func openOriginals(path string, n int, c *train.Checkpoint, asked []int64) (*originals, error) {
	options := c.Config.DataOptions()
	options.ClassCond = false
	options.Limit = n
	options.CacheBytes = -1 // each is read once
	set, err := data.Open(path, options)
	if err != nil {
		return nil, fmt.Errorf("--invert: %w", err)
	}
	defer set.Close()
	if c.Config.Model.ClassCond && len(asked) == 0 {
		return nil, wrongUse("--invert: say by --class what the images are, one class for all or one each")
	}
	size := c.Config.Model.ImageSize
	o := &originals{images: images{size: size}, noise: images{size: size}}
	o.pixels, _, err = set.Images()
	return o, err
}

// invert finds the noise that DDIM makes images of, and lets it make them
// again.
func (s *sampler) invert(ctx context.Context, drawn *images) error {
	for drawn.len() < s.originals.len() {
		first := drawn.len()
		if err := s.invertBatch(ctx, first, min(s.batchSize, s.originals.len()-first), drawn); err != nil {
			return err
		}
	}
	s.log.Info("inverted", zap.Int("images", drawn.len()), zap.Float64("psnr", stat.Mean(s.originals.psnr, nil)))
	return nil
}

func (s *sampler) invertBatch(ctx context.Context, first, n int, drawn *images) (err error) {
	gotorch.Scope(func() {
		o, each := s.originals, s.originals.bytesPerImage()
		pixels := o.pixels[first*each : (first+n)*each]
		labels := s.classes(first, n)
		cond := s.cond(labels)
		var latent, again gotorch.Tensor
		latent, err = s.diffusion.InvertLoop(ctx, s.denoise, tensorOf(pixels, n, o.size, s.device), cond,
			diffusion.InvertOptions{NoClipDenoised: !s.clip, Refine: s.refine, Progress: s.progress, GraphCache: &s.graphs})
		if err != nil {
			return
		}
		again, err = s.diffusion.SampleLoop(ctx, s.denoise, latent, cond,
			diffusion.SampleOptions{Sampler: diffusion.DDIM, NoClipDenoised: !s.clip, Progress: s.progress, GraphCache: &s.graphs})
		if err != nil {
			return
		}
		if err = checkFinite(again, first, n); err != nil {
			return
		}
		made := train.TensorToPixels(again)
		for i := range n {
			o.psnr = append(o.psnr, psnr(pixels[i*each:(i+1)*each], made[i*each:(i+1)*each]))
		}
		o.latents.add(latent, labels)
		o.noise.add(train.TensorToPixels(latent.MulScalar(1./3)), nil)
		drawn.add(made, labels)
	})
	return err
}

// psnr returns the peak signal-to-noise ratio of two images of bytes, dB;
// equal ones have that of half a grey level.
func psnr(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255/max(sum/float64(len(a)), 1./4))
}

// sheet shows what there is of every image in a row: the original, its latent,
// and what sampling makes of that.
func (o *originals) sheet(made *images) images {
	each := o.bytesPerImage()
	all := images{size: o.size, columns: 3}
	for i := range made.len() {
		part := func(p []byte) []byte { return p[i*each : (i+1)*each] }
		all.add(slices.Concat(part(o.pixels), part(o.noise.pixels), part(made.pixels)), nil)
	}
	return all
}
