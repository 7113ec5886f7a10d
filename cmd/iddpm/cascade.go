package main

import (
	"cmp"
	"context"
	"errors"

	"iddpm/checkpoint"
	"iddpm/inference"
)

// job returns the job of the second network: to upsample the samples of the first.
func (o *cascadeOptions) job(first *sampleJob, small *inference.Images) *sampleJob {
	options := &sampleOptions{
		sessionOptions: first.sessionOptions, inferenceOptions: first.inferenceOptions,
		first: first.first, batchSize: cmp.Or(o.batchSize, first.batchSize), choice: o.choice, seed: first.seed,
		guidance: noGuidance(),
	}
	options.ema, options.guidance.scale = o.ema, o.guidance
	return &sampleJob{sampleOptions: options, count: small.Len(), dir: first.dir, base: small}
}

// cascade generates samples and, if there is a second network, upsamples them with it.
// Both are written.
func (s *session) cascade(ctx context.Context, first, second *checkpoint.Checkpoint, job *sampleJob) (sampleResult, error) {
	result, small, err := s.sample(ctx, first, job)
	if err != nil || second == nil {
		return result, err
	}
	upsampled, _, err := s.sample(ctx, second, job.cascade.job(job, &small.Images))
	if upsampled.NumSamples == 0 { // the low-resolution samples are saved
		if errors.Is(err, context.Canceled) {
			err = errors.Join(errSavedInPart, err)
		}
		return result, err
	}
	upsampled.Base, upsampled.Progress = result.Samples, result.Progress
	upsampled.files = append(result.files, upsampled.files...)
	return upsampled, err
}
