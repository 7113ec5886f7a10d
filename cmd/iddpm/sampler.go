package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"gonum.org/v1/gonum/stat"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/inference"
)

// generate generates the images of a job: images, or an inversion with its reconstructions. If it is
// interrupted, the images so far are kept with the error.
func (s *session) generate(ctx context.Context, checkpoint *checkpoint.Checkpoint, o *sampleJob, result *sampleResult) (made generated, err error) {
	made.Size = checkpoint.Config.Model.ImageSize
	s.setThreads(o.threads)
	m, err := s.loadModel(checkpoint, o.ema, o.computePrecision())
	if err = s.group.SyncError(err); err != nil {
		return made, err
	}
	defer m.Free()
	o.describe(m, result)
	s.logSampling(o, result)
	evaluations := batches(o.count, o.batchSize*s.group.Size()) * result.Evaluations
	if o.originals != nil {
		s.expect(2 * evaluations) // each image is inverted, and sampled
		return s.invert(ctx, m, o)
	}
	s.expect(evaluations)
	g, err := s.openGuides(o)
	defer g.free()
	if err == nil {
		made.Samples, err = s.sampleWith(ctx, m, g, o)
	}
	return made, withRemedy(namingGuide(err), "nothing is written")
}

// describe fills in how the images of a job are generated.
func (o *sampleJob) describe(m *inference.Model, r *sampleResult) {
	r.Weights, r.Timesteps = m.Weights().Name, m.Diffusion().NumTimesteps()
	steps := r.Timesteps
	switch {
	case o.edit != nil:
		steps = o.edit.Steps(m.Diffusion())
	case o.inpainting != nil:
		steps = o.inpainting.Steps(steps)
	}
	r.Sampler, r.Evaluations = o.choice.sampler.String(), o.choice.sampler.Evaluations(steps)
	if o.choice.ours {
		r.FullChain, r.fullChainTimes = m.Diffusion().OriginalNumSteps, o.fullChain(m)
		r.spacing = diffusion.SpacingOf(o.choice.respacing)
	}
}

// logSampling logs how the images of a job are generated.
func (s *session) logSampling(o *sampleJob, r *sampleResult) {
	s.log.Info("sampling", zap.String("checkpoint", r.Checkpoint), zap.Int("step", r.Step), zap.String("weights", r.Weights),
		zap.Int("images", o.count), zap.String("sampler", r.Sampler), zap.Int("timesteps", r.Timesteps), zap.Stringer("device", s.device))
	if o.choice.ours {
		s.log.Info("sampling in few steps, as no sampler is named", zap.String("sampler", r.Sampler), zap.Int("evaluations_per_image", r.Evaluations),
			zap.Int("full_chain", r.FullChain), zap.String("hint", "--sampler ddpm samples by the full chain"))
	}
}

// sampleWith generates the samples of a job that inverts nothing.
func (s *session) sampleWith(ctx context.Context, m *inference.Model, g guides, o *sampleJob) (inference.Samples, error) {
	options := inference.SampleOptions{
		Count: o.count, First: o.first, BatchSize: o.batchSize, Seed: o.seed, Sampler: o.choice.sampler, Eta: o.choice.eta, Unclipped: !o.clip,
		Classes: o.classes, Latents: o.given, Edit: o.edit, Inpaint: o.inpainting, Guidance: g.guidance, Classifier: g.classifier, Progress: s.sampleProgress(o.strip, o.fullChain(m)),
		AllRanks: o.cascade.path != "", // all processes upsample the samples
	}
	switch {
	case o.base != nil:
		return m.Upsample(ctx, *o.base, options)
	case len(o.interpolate) > 0:
		return m.Interpolate(ctx, o.interpolate[0], o.interpolate[1], options)
	}
	return m.Sample(ctx, options)
}

// invert inverts the images of a job.
func (s *session) invert(ctx context.Context, m *inference.Model, o *sampleJob) (made generated, err error) {
	all, err := m.Invert(ctx, *o.originals, inference.InvertOptions{
		BatchSize: o.batchSize, Classes: o.classes, Unclipped: !o.clip, Refine: o.refine, Progress: s.sampleProgress(nil, 0),
	})
	if err == nil {
		s.log.Info("inverted", zap.Int("images", len(all.PSNR)), zap.Float64("psnr", stat.Mean(all.PSNR, nil)))
	}
	made.Samples = inference.Samples{Images: all.Reconstructed, Count: all.Reconstructed.Len()}
	made.inversion = &all
	return made, withRemedy(err, "nothing is written")
}

// fullChain returns how many times as long all timesteps would take, if this program has chosen fewer; else 0.
func (o *sampleJob) fullChain(m *inference.Model) float64 {
	if !o.choice.ours {
		return 0
	}
	return float64(m.Diffusion().OriginalNumSteps) / float64(o.choice.sampler.Evaluations(m.Diffusion().NumTimesteps()))
}

// sampleProgress returns a callback that adapts the number of threads, fills the strip unless it is
// nil, and reports progress: after the fourth step also what fullChain times the steps would take, unless it is 0.
func (s *session) sampleProgress(strip *inference.Strip, fullChain float64) func(inference.Progress) error {
	start := time.Now()
	var warm time.Time
	return func(p inference.Progress) error {
		s.threads.Adapt()
		switch {
		case p.Step == 2: // the first ones are slower, with CUDA graph capture
			warm = time.Now()
		case p.Step == 4 && fullChain > 0:
			each := time.Since(warm) / 2
			s.log.Info("time by this sampler and by the full chain", zap.String("estimate", about(each*time.Duration(p.Steps))),
				zap.String("full_chain", about(time.Duration(fullChain*float64(each)*float64(p.Steps)))))
		}
		if strip != nil {
			strip.Add(p)
		}
		bar := fmt.Sprintf("%d/%d images  %.1f steps/s ", p.Images, p.Count, float64(p.Step)/time.Since(start).Seconds())
		s.reportProgress(p.Step, p.Steps, bar, "generating samples",
			zap.Int("images", p.Images), zap.Int("of", p.Count), zap.Int("step", p.Step), zap.Int("steps", p.Steps))
		return nil
	}
}

// withRemedy adds to the error of a result that is not finite what becomes of it, and what to try.
func withRemedy(err error, outcome string) error {
	if e := (*inference.NonFiniteError)(nil); errors.As(err, &e) {
		return fmt.Errorf("%w: %s. Try --precision fp32, other weights (--ema), or an older checkpoint", err, outcome)
	}
	return err
}
