package train

import (
	"context"
	"errors"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
	"gonum.org/v1/gonum/stat"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/likelihood"
	"iddpm/model"
	"iddpm/train/engine"
	"iddpm/train/metrics"
)

// evaluationDue reports whether the current step ends with an evaluation.
func (t *Trainer) evaluationDue() bool {
	e := t.config.Eval
	return e.EvaluatesBound() && (t.Step()%e.Interval == 0 || t.done())
}

// evaluateHeldOut writes a row with the bound on the held-out images. All evaluations of all
// runs use the same noise, that of `iddpm nll` with seed 0, so that curves differ only by the
// weights. The training state does not change.
func (t *Trainer) evaluateHeldOut(ctx context.Context) error {
	if t.config.Classifier != nil {
		return t.evaluateClasses(ctx)
	}
	started := time.Now()
	if t.heldOut.process == nil {
		c := t.config.Diffusion
		if t.config.Eval.Respacing != "" {
			c.TimestepRespacing = t.config.Eval.Respacing
		}
		var err error
		if t.heldOut.process, err = diffusion.New(c, t.run.Device); err != nil {
			return err
		}
	}
	index, weights := checkpoint.DefaultWeights(t.config.Train, t.Step())
	about := []zap.Field{zap.Int("step", t.Step()), zap.String("weights", weights.Name), zap.Int("images", len(t.heldOut.labels)),
		zap.Int("timesteps", t.heldOut.process.NumTimesteps())}
	if weights.Reason != "" {
		about = append(about, zap.String("reason", weights.Reason))
	}
	t.run.Log.Info("evaluating the bound", about...)
	var sum diffusion.BPDSum
	var err error
	t.engine.WithEMA(index, func() { sum, err = t.heldOutBound(ctx) })
	switch { // all ranks have an error, or none has
	case errors.Is(err, context.Canceled):
		return ErrInterrupted
	case err != nil:
		return err
	}
	if err := t.syncStop(ctx, nil); err != nil {
		return err
	}
	mean, stderr := diffusion.MeanAndError(sum.Total)
	mse := stat.Mean(sum.Mean(sum.EpsilonMSE), nil)
	t.run.Log.Info("evaluated", zap.Int("step", t.Step()), zap.Float64(EvalBPD, mean), zap.Float64(EvalBPDStderr, stderr), zap.Int("images", sum.Len()))
	t.writeMetrics([]metrics.Value{{Name: EvalBPD, Value: mean}, {Name: EvalBPDStderr, Value: stderr}, {Name: EvalMSE, Value: mse}})
	t.meter.exclude(started)
	return nil
}

// heldOutBound evaluates the bound of the held-out images.
func (t *Trainer) heldOutBound(ctx context.Context) (sum diffusion.BPDSum, err error) {
	h, size, o := t.heldOut, len(t.heldOut.pixels)/len(t.heldOut.labels), t.engine.Options()
	graphs := t.evaluationGraphs()
	defer graphs.Close()
	err = likelihood.Evaluation{
		Diffusion: h.process, Denoise: engine.Denoiser(t.engine.UNet(), model.Input{Dtype: t.engine.Dtype()}),
		Count: len(h.labels), BatchSize: min(o.Microbatch, o.LocalBatch()),
		Batch: func(first, n int) (gotorch.Tensor, diffusion.Cond, error) {
			x, y := t.upload(data.Batch{Pixels: h.pixels[first*size : (first+n)*size], Labels: h.labels[first : first+n]})
			return x, t.engine.Cond(x, y), nil
		},
		Group: t.run.Group, GraphCache: graphs,
		Progress: func(_, _ int) error { t.threads.adapt(t.Step()); return nil },
	}.Add(ctx, &sum)
	return sum, err
}

// evaluationGraphs returns the graph cache of one evaluation. It is closed afterwards, since
// training needs its memory.
func (t *Trainer) evaluationGraphs() *diffusion.GraphCache {
	return &diffusion.GraphCache{Off: t.config.Train.NoCUDAGraphs, OnCaptureFailed: func(err error) {
		t.run.Log.Warn("CUDA graph capture of the evaluation failed: falling back to eager execution, which is slower", zap.Error(err))
	}}
}
