package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wangkuiyi/gotorch"

	"iddpm/train"
)

// time runs steps of several kinds in turn. It returns the seconds of each kind after the warm-up, in
// rising order, and those of the very first step. A profiler that was started with profiling off
// records the timed steps only. An interrupt ends it between steps.
func (s *session) time(ctx context.Context, b *train.Bench, o *benchOptions, kinds []benchStep) (seconds [][]float64, first float64, err error) {
	seconds = make([][]float64, len(kinds))
	for i := range o.warmup + o.steps {
		if i == o.warmup {
			if err := s.profile(gotorch.CUDAProfilerStart); err != nil {
				return nil, 0, err
			}
		}
		for k, step := range kinds {
			start := time.Now()
			if err := s.group.SyncResult(ctx, context.Cause(ctx)); err != nil { // as before every step of a run
				return nil, 0, err
			}
			if err := errors.Join(step(b), waitFor(s.device)); err != nil {
				return nil, 0, err
			}
			took := time.Since(start).Seconds()
			if i == 0 && k == 0 {
				first = took
			}
			if i >= o.warmup {
				seconds[k] = append(seconds[k], took)
			}
		}
	}
	for _, kind := range seconds {
		slices.Sort(kind)
	}
	return seconds, first, s.profile(gotorch.CUDAProfilerStop)
}

// profile begins or ends a profiler's range on a GPU.
func (s *session) profile(mark func()) error {
	if s.device.Type != gotorch.CUDA {
		return nil
	}
	return gotorch.Try(mark)
}

// waitFor waits for the device.
func waitFor(d gotorch.Device) error {
	if d.Type != gotorch.CUDA {
		return nil
	}
	return gotorch.Try(func() { gotorch.CUDASynchronize(d) })
}

func median(rising []float64) float64 { return rising[len(rising)/2] }

// benchStep is a step to time.
type benchStep func(*train.Bench) error
