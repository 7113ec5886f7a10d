package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iddpm/checkpoint"
)

// sample generates images and writes them: result.NumSamples are in the files. The
// error is errSavedInPart if an interrupt left only some of them.
func (s *session) sample(ctx context.Context, checkpoint *checkpoint.Checkpoint, o *sampleJob) (result sampleResult, made generated, err error) {
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
