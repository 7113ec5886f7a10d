package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/inference"
	"iddpm/model"
	"iddpm/streams"
	"iddpm/train"
)

// inferenceOptions are the flags that say which weights to use, and how to compute with them.
type inferenceOptions struct {
	ema       string // see [train.Checkpoint.Weights]
	clip      bool
	precision string
	threads   int
}

func defaultInference() inferenceOptions { return inferenceOptions{clip: true, precision: "auto"} }

// options lists the flags; those that change the results are in a category of the command.
func (o *inferenceOptions) options(category string) []option {
	return []option{
		emaOption(&o.ema, category),
		{name: "clip-denoised", category: category, value: &o.clip, usage: "clip the predicted x_0 to [-1, 1] at every step"},
		precisionOption(&o.precision, categoryRun),
		threadsOption(&o.threads, categoryRun),
	}
}

// evaluator is a checkpoint's network and its diffusion, ready to be asked. It
// works on the tensor thread.
type evaluator struct {
	*session
	network   *model.UNet
	denoise   diffusion.Denoiser // the network
	weights   string             // which of the checkpoint's it has
	diffusion *diffusion.GaussianDiffusion
	config    model.Config
	trained   []int64              // classes that the network has seen images of
	graphs    diffusion.GraphCache // of its batches
}

// newInference takes the weights that ema names, see [train.Checkpoint.Weights],
// and computes in a precision of [train.Options].
func (s *session) newInference(c *train.Checkpoint, ema, precision string) (*evaluator, error) {
	dtype, err := train.Inference(precision, s.device)
	if err != nil {
		return nil, wrongUse("--%w", err)
	}
	process, err := diffusion.New(c.Config.Diffusion, s.device)
	if err != nil {
		return nil, err
	}
	weights, err := c.Weights(ema)
	if err != nil {
		return nil, err
	}
	s.logWeights(c, weights)
	network, err := c.Network(ema, s.device)
	if err != nil {
		return nil, err
	}
	network.Freeze(dtype)
	denoise := train.Denoiser(network, model.Input{Dtype: dtype})
	n := &evaluator{session: s, network: network, denoise: denoise, weights: weights.Name, diffusion: process, config: c.Config.Model, trained: c.TrainedClasses()}
	n.graphs.OnCaptureFailed = func(err error) {
		s.log.Warn("CUDA graph capture failed: falling back to eager execution, which is slower", zap.Error(err))
	}
	return n, nil
}

// loadModel loads the weights of a checkpoint that ema names, see [train.Checkpoint.Weights], and
// computes in a precision of [train.Options].
func (s *session) loadModel(c *train.Checkpoint, ema, precision string) (*inference.Model, error) {
	m, err := inference.FromCheckpoint(c, inference.LoadOptions{
		Device: s.device, EMA: ema, Precision: precision, Group: s.group,
		OnCaptureFailed: func(err error) {
			s.log.Warn("CUDA graph capture failed: falling back to eager execution, which is slower", zap.Error(err))
		},
	})
	if e := (*inference.OptionError)(nil); errors.As(err, &e) {
		return nil, wrongUse("--%w", err)
	}
	if err == nil {
		s.logWeights(c, m.Weights())
	}
	return m, err
}

// logWeights logs which weights are used if they are not the usual ones.
func (s *session) logWeights(c *train.Checkpoint, w train.Weights) {
	if w.Reason == "" {
		return
	}
	about := []zap.Field{zap.String("checkpoint", c.Path), zap.String("reason", w.Reason)}
	if w.PassedOver == "" {
		s.log.Info("using the weights of the file, as named", about...)
		return
	}
	s.log.Info("using the raw weights, not the EMA", append(about, zap.String("hint", "--ema "+w.PassedOver+" uses the EMA"))...)
}

// manyEvaluations is from how many evaluations of the network on cuDNN's benchmark mode pays: it
// may take a minute.
const manyEvaluations = 10_000

// batches returns the number of batches of a size.
func batches(images, size int) int { return (images + size - 1) / size }

// expect sets cuDNN's benchmark mode for a number of evaluations of the network.
func (s *session) expect(evaluations int) {
	gotorch.SetBenchmarkCUDNN(evaluations >= manyEvaluations)
}

// Free frees the network and its captured graphs.
func (n *evaluator) Free() {
	n.graphs.Close()
	n.network.Free()
}

// cond returns what the network is told of images of these classes.
func (n *evaluator) cond(labels []int64) diffusion.Cond {
	if !n.config.ClassCond {
		return diffusion.Cond{}
	}
	return diffusion.Cond{Y: gotorch.FromInt64s(labels).To(n.device)}
}

// noise returns the source of noise for images, of which the first has the
// given index. That of enlarging is another, since the small images may come
// from the same seed: their noise would return in the first rows of the large
// ones.
func (n *evaluator) noise(seed uint64, first, count int) diffusion.NoiseSource {
	size, stream := int64(n.config.ImageSize), streams.SampleNoise
	if n.config.SuperRes() {
		stream = streams.UpsampleNoise
	}
	return diffusion.NoiseSource{
		Device: n.device, Seed: seed, Stream: stream, FirstImage: int64(first),
		Shape: []int64{int64(count), int64(n.config.InChannels), size, size},
	}
}

// tensorOf turns count images, bytes [N, size, size, 3], into [N, 3, size, size]
// in [-1, 1], in channels-last memory, as training does.
func tensorOf(pixels []byte, count, size int, device gotorch.Device) gotorch.Tensor {
	return train.PixelsToTensor(gotorch.FromBytes(pixels, gotorch.Byte, int64(count), int64(size), int64(size), 3).To(device))
}

// boundOptions say how to evaluate the bound of a batch.
type boundOptions struct {
	seed      uint64
	first     int // index of the batch's first image
	unclipped bool
	progress  func() error // called after every timestep
}

// bound evaluates the bound of images, bytes [N, H, W, 3], and adds it to a sum.
func (n *evaluator) bound(ctx context.Context, pixels []byte, labels []int64, o boundOptions, sum *diffusion.BPDSum) (err error) {
	gotorch.Scope(func() {
		x, cond := tensorOf(pixels, len(labels), n.config.ImageSize, n.device), n.cond(labels)
		cond.LowRes = n.config.LowRes(x)
		var b diffusion.BPD
		b, err = n.diffusion.CalcBPD(ctx, n.denoise, x, cond, diffusion.BPDOptions{
			Noise: n.noise(o.seed, o.first, len(labels)).At, NoClipDenoised: o.unclipped, GraphCache: &n.graphs,
			Progress: func(int) error { n.session.threads.Adapt(); return o.progress() },
		})
		if err == nil && !train.Finite(b.Total) {
			err = fmt.Errorf("the bound of the network is NaN, in images %d to %d: these are not counted. Try --precision fp32, other weights (--ema), or an older checkpoint", o.first, o.first+len(labels)-1)
		}
		if err == nil {
			sum.Add(b)
		}
	})
	return err
}

// evaluationSet opens the images to evaluate a model on: those of dir, or else
// what its run evaluated on or held out, or else what it was trained on. There are
// at most limit of them; 0: all.
func evaluationSet(checkpoint *train.Checkpoint, dir, split string, limit int) (*data.Dataset, error) {
	c := checkpoint.Config
	settings := c.DataOptions()
	settings.KnownClasses = checkpoint.ClassNames
	settings.Split, settings.Limit = split, limit
	settings.CacheBytes = -1 // each is read once
	if dir == "" {
		dir = c.Eval.Dir
	}
	if dir == "" {
		dir, settings.HoldOut, settings.HeldOut = c.Data.Dir, c.Eval.HoldOut, c.Eval.HoldOut > 0
	}
	return data.Open(dir, settings)
}
