package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/streams"
	"iddpm/train"
)

// sampler generates images. It works on the tensor thread.
type sampler struct {
	*inference
	*sampleJob
	steps int       // taken so far, of all batches
	start time.Time // of the first
}

func (s *session) newSampler(c *train.Checkpoint, o *sampleJob) (*sampler, error) {
	network, err := s.newInference(c, o.ema, o.precision)
	if err != nil {
		return nil, err
	}
	drawing := &sampler{inference: network, sampleJob: o, start: time.Now()}
	drawing.expect(drawing.stepsInAll())
	return drawing, nil
}

// drawnBatch are images that one process has drawn.
type drawnBatch struct {
	Pixels []byte  // [N, H, W, 3]
	Labels []int64 // [N], or none
}

// all draws the images, batch by batch, or in several processes as many batches at
// once. An interrupt leaves whole batches.
func (s *sampler) all(ctx context.Context, drawn *images) error {
	for done := 0; done < s.count; done += s.batchSize * s.group.Size() {
		var mine drawnBatch
		var err error
		first := done + s.group.Rank()*s.batchSize
		if n := min(s.batchSize, s.count-first); n > 0 {
			mine, err = s.batch(ctx, first, n)
		}
		if err = s.syncStop(ctx, err); err != nil {
			return err
		}
		all, err := distributed.AllGather(s.group, mine)
		if err != nil {
			return err
		}
		for _, batch := range all {
			s.done += len(batch.Pixels) / drawn.bytesPerImage()
		}
		if !s.group.IsLeader() && s.sampleJob.cascade.path == "" {
			continue // the leading process writes them, and nobody enlarges them
		}
		for _, batch := range all {
			drawn.add(batch.Pixels, batch.Labels)
		}
	}
	return nil
}

// batch draws n images, the first being that many after --first-sample.
func (s *sampler) batch(ctx context.Context, first, n int) (drawn drawnBatch, err error) {
	gotorch.Scope(func() {
		noise, labels := s.noise(s.seed, s.first+first, n), s.classes(first, n)
		cond := s.cond(labels)
		cond.LowRes = s.lowRes(first, n)
		options := diffusion.SampleOptions{Eta: s.eta, NoClipDenoised: !s.clip, Noise: noise.At, Progress: s.progress, GraphCache: &s.graphs}
		if s.ddim {
			options.Sampler = diffusion.DDIM
		}
		if s.denoised != nil && first == 0 {
			options.Progress = s.withStrip
		}
		var x gotorch.Tensor
		if x, err = s.diffusion.SampleLoop(ctx, s.denoise, s.xT(first, n, noise), cond, options); err != nil {
			return
		}
		if err = checkFinite(x, s.first+first, n); err == nil {
			drawn = drawnBatch{train.TensorToPixels(x), labels}
		}
	})
	return drawn, err
}

func checkFinite(x gotorch.Tensor, first, n int) error {
	if train.Finite(x) {
		return nil
	}
	return fmt.Errorf("the network draws NaN, in images %d to %d: nothing is written. Try --precision fp32, other weights (--ema), or an older checkpoint", first, first+n-1)
}

// classes returns the classes of n images: those asked for, in turn, or those
// of the latents or the small images, or else each a function of the seed and its image's index.
func (s *sampler) classes(first, n int) []int64 {
	if !s.config.ClassCond {
		return nil
	}
	labels := s.randomClasses(s.first+first, n)
	if s.interpolate != nil { // all on the way are of one class
		labels = slices.Repeat(s.randomClasses(0, 1), n)
	}
	for i := range labels {
		switch {
		case len(s.asked) > 0:
			labels[i] = s.asked[(s.first+first+i)%len(s.asked)]
		case s.given != nil && s.given.labels != nil:
			labels[i] = s.given.labels[first+i]
		case s.base != nil && s.base.labels != nil:
			labels[i] = s.base.labels[(first+i)%s.base.len()]
		}
	}
	return labels
}

func (s *sampler) randomClasses(first, n int) []int64 {
	key := gotorch.PhiloxKey{Seed: s.seed, Stream: streams.SampleClass, FirstSample: int64(first)}
	labels := make([]int64, n)
	for i, u := range gotorch.PhiloxUniform(gotorch.Device{}, gotorch.Double, key, int64(n)).Float64s() {
		labels[i] = s.trained[int64(u*float64(len(s.trained)))]
	}
	return labels
}

// progress counts a step, and says how far the images are.
func (s *sampler) progress(int, gotorch.Tensor) error {
	s.session.threads.Adapt()
	s.steps++
	done := min(s.steps/s.stepsPerBatch()*s.batchSize*s.group.Size(), s.count)
	bar := fmt.Sprintf("%d/%d images  %.1f steps/s ", done, s.count, float64(s.steps)/time.Since(s.start).Seconds())
	s.reportProgress(s.steps, s.stepsInAll(), bar, "drawing",
		zap.Int("images", done), zap.Int("of", s.count), zap.Int("step", s.steps), zap.Int("steps", s.stepsInAll()))
	return nil
}

func (s *sampler) stepsInAll() int {
	return batches(s.count, s.batchSize*s.group.Size()) * s.stepsPerBatch()
}

// stepsPerBatch returns how often progress is called for a batch.
func (s *sampler) stepsPerBatch() int {
	n := s.diffusion.NumTimesteps()
	switch {
	case s.originals == nil:
		return n
	case s.refine == 0:
		return 2*n - 1
	}
	return 2 * n
}

// withStrip is progress where the strip is filled.
func (s *sampler) withStrip(t int, predXStart gotorch.Tensor) error {
	if s.denoised.shows(t, s.diffusion.NumTimesteps()) {
		s.denoised.add(predXStart)
	}
	return s.progress(t, predXStart)
}
