package main

import (
	"context"
	"fmt"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/train"
)

// The streams of random numbers of sampling, apart from those of training.
const (
	streamNoise = 16 + iota
	streamClass
)

// sampler draws pictures. It works on the tensor thread.
type sampler struct {
	*session
	o         *sampleOptions
	network   *model.UNet
	diffusion *diffusion.GaussianDiffusion
	config    model.Config
	dtype     int8
	steps     int       // taken so far, of all batches
	start     time.Time // of the first
	due       occasion
}

func (s *session) newSampler(c *train.Checkpoint, o *sampleOptions) (*sampler, error) {
	dtype, err := train.Inference(o.precision, s.device)
	if err != nil {
		return nil, wrongUse("--%w", err)
	}
	process, err := diffusion.New(c.Config.Diffusion, s.device)
	if err != nil {
		return nil, err
	}
	network, err := c.Network(o.ema, s.device)
	if err != nil {
		return nil, err
	}
	network.Freeze(dtype)
	return &sampler{session: s, o: o, network: network, diffusion: process, config: c.Config.Model, dtype: dtype, start: time.Now()}, nil
}

// all draws the pictures, batch by batch. An interrupt leaves whole batches.
func (s *sampler) all(ctx context.Context, drawn *pictures) error {
	for drawn.len() < s.o.number {
		first := drawn.len()
		if err := s.batch(ctx, first, min(s.o.batchSize, s.o.number-first), drawn); err != nil {
			return err
		}
	}
	return nil
}

// batch draws n pictures, of which the first has the given index.
func (s *sampler) batch(ctx context.Context, first, n int, drawn *pictures) (err error) {
	gotorch.Scope(func() {
		size := int64(s.config.ImageSize)
		noise := diffusion.NoiseSource{
			Device: s.device, Seed: s.o.seed, Stream: streamNoise, FirstPicture: int64(first),
			Shape: []int64{int64(n), int64(s.config.InChannels), size, size},
		}
		labels, cond := s.classes(first, n)
		options := diffusion.SampleOptions{Eta: s.o.eta, Unclipped: !s.o.clip, Noise: noise.At, Progress: s.progress}
		if s.o.ddim {
			options.Sampler = diffusion.DDIM
		}
		var x gotorch.Tensor
		if x, err = s.diffusion.SampleLoop(ctx, s.denoise, noise.XT(), cond, options); err != nil {
			return
		}
		if x.IsFinite().CastTo(gotorch.Float).Min().Float64() == 0 {
			err = fmt.Errorf("the network draws NaN, in pictures %d to %d: nothing is written. Try --precision fp32, other weights (--ema), or an older checkpoint", first, first+n-1)
			return
		}
		drawn.add(bytesOf(x), labels)
	})
	return err
}

func (s *sampler) denoise(x, t gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
	return s.network.Forward(x, t, model.Input{Y: cond.Y, LowRes: cond.LowRes, Dtype: s.dtype})
}

// classes returns the classes of n pictures: those asked for, in turn, or else
// each a function of the seed and its picture's index.
func (s *sampler) classes(first, n int) ([]int64, diffusion.Cond) {
	if !s.config.ClassCond {
		return nil, diffusion.Cond{}
	}
	labels := make([]int64, n)
	key := gotorch.PhiloxKey{Seed: s.o.seed, Stream: streamClass, FirstSample: int64(first)}
	for i, u := range gotorch.PhiloxUniform(gotorch.Device{}, gotorch.Double, key, int64(n)).Float64s() {
		labels[i] = int64(u * float64(s.config.NumClasses))
		if asked := s.o.classes; len(asked) > 0 {
			labels[i] = int64(asked[(first+i)%len(asked)])
		}
	}
	return labels, diffusion.Cond{Y: gotorch.FromInt64s(labels).To(s.device)}
}

// progress moves the bar, or logs a line now and then.
func (s *sampler) progress(int, gotorch.Tensor) error {
	s.steps++
	batches := (s.o.number + s.o.batchSize - 1) / s.o.batchSize
	perBatch := s.diffusion.NumTimesteps()
	done := min(s.steps/perBatch*s.o.batchSize, s.o.number)
	s.screen.show(s.steps, batches*perBatch, fmt.Sprintf("%d/%d pictures  %.1f steps/s ", done, s.o.number, float64(s.steps)/time.Since(s.start).Seconds()))
	if !s.screen.terminal && s.due.strikes() {
		s.log.Info("drawing", zap.Int("pictures", done), zap.Int("of", s.o.number), zap.Int("step", s.steps), zap.Int("steps", batches*perBatch))
	}
	return nil
}

// bytesOf turns pictures [N, C, H, W] in [-1, 1] into bytes [N, H, W, C] as the
// reference does.
func bytesOf(x gotorch.Tensor) []byte {
	scaled := x.AddScalar(1).MulScalar(127.5).Clamp(0, 255)
	return scaled.CastTo(gotorch.Byte).Permute([]int64{0, 2, 3, 1}).Contiguous().Uint8s()
}
