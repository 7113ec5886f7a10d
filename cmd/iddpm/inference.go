package main

import (
	"errors"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/inference"
	"iddpm/internal/cli"
)

// inferenceOptions are the flags that say which weights to use, and how to compute with them.
type inferenceOptions struct {
	ema       string // see [checkpoint.Checkpoint.Weights]
	clip      bool
	precision string
	useFP16   bool // the reference's name of --precision fp16
	threads   int
}

func defaultInference() inferenceOptions { return inferenceOptions{clip: true, precision: "auto"} }

// options lists the flags; those that change the results are in a category of the command.
func (o *inferenceOptions) options(category string) []cli.Option {
	return []cli.Option{
		cli.EMAOption(&o.ema, category),
		{Name: "clip-denoised", Category: category, Value: &o.clip, Usage: "clip the predicted x_0 to [-1, 1] at every step"},
		cli.PrecisionOption(&o.precision, cli.CategoryRun),
		{Name: "use-fp16", Category: cli.CategoryRun, Value: &o.useFP16, Hidden: true},
		cli.ThreadsOption(&o.threads, cli.CategoryRun),
	}
}

// computePrecision returns the precision that the flags choose.
func (o *inferenceOptions) computePrecision() string {
	if o.useFP16 && o.precision == "auto" {
		return "fp16"
	}
	return o.precision
}

// loadModel loads the weights of a checkpoint that ema names, see [checkpoint.Checkpoint.Weights], and
// computes in a precision of [runconfig.Options].
func (s *session) loadModel(c *checkpoint.Checkpoint, ema, precision string) (*inference.Model, error) {
	m, err := inference.FromCheckpoint(c, inference.LoadOptions{
		Device: s.device, EMA: ema, Precision: precision, Group: s.group,
		OnCaptureFailed: func(err error) {
			s.log.Warn("CUDA graph capture failed: falling back to eager execution, which is slower", zap.Error(err))
		},
	})
	if e := (*inference.OptionError)(nil); errors.As(err, &e) {
		return nil, cli.Errorf("--%w", err)
	}
	if err == nil {
		configure(func(o *gotorch.Settings) { o.TF32 = m.Settings().TF32 })
		s.logWeights(c, m.Weights())
	}
	return m, err
}

// logWeights logs which weights are used if they are not the usual ones.
func (s *session) logWeights(c *checkpoint.Checkpoint, w checkpoint.Weights) {
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
	configure(func(o *gotorch.Settings) { o.BenchmarkCUDNN = evaluations >= manyEvaluations })
}

// evaluationSet opens the images to evaluate a model on: those of dir, or else the images that its
// run evaluated on or held out, or else those that it was trained on. There are at most limit of
// them; 0: all.
func evaluationSet(checkpoint *checkpoint.Checkpoint, dir, split string, limit int) (*data.Dataset, error) {
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
