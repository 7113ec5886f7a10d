package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
	"gonum.org/v1/gonum/stat"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/likelihood"
	"iddpm/model"
	"iddpm/train/metrics"
)

// EvalConfig configures the evaluation of the variational bound during training. The zero
// value evaluates nothing.
type EvalConfig struct {
	Interval  int     `json:"eval_interval"`  // steps between evaluations; the last step is evaluated too; 0: none
	Dir       string  `json:"eval_data"`      // images to evaluate on; empty: those of HoldOut
	HoldOut   float64 `json:"hold_out"`       // fraction of the training images held out for evaluation, in [0, 1)
	Images    int     `json:"eval_pictures"`  // number of images to evaluate on, evenly spaced in the set; 0: 64
	Respacing string  `json:"eval_respacing"` // timestep respacing of the evaluation: faster, and another bound; "": as trained
}

// The columns of an evaluation.
const (
	EvalBPD       = "eval_bpd"        // the bound on the NLL with its prior, bits/dim, by the default weights, see [Checkpoint.Weights]
	EvalBPDStderr = "eval_bpd_stderr" // standard error of that mean over images
	EvalMSE       = "eval_mse"        // mean over steps of the squared error of the noise
)

// Validate returns an error that lists all invalid settings of e, for a run with process d.
func (e EvalConfig) Validate(d diffusion.Config) error {
	var errs []error
	if e.Interval < 0 {
		errs = append(errs, fmt.Errorf("eval-interval must not be negative, but is %d", e.Interval))
	}
	if e.Images < 0 {
		errs = append(errs, fmt.Errorf("eval-pictures must not be negative, but is %d", e.Images))
	}
	if !(e.HoldOut >= 0 && e.HoldOut < 1) {
		errs = append(errs, fmt.Errorf("hold-out must be in [0, 1), not %g", e.HoldOut))
	}
	if e.Interval > 0 && e.Dir == "" && e.HoldOut == 0 {
		errs = append(errs, errors.New("eval-interval needs images that are not trained on: name them by eval-data, or set hold-out, for example to 0.05"))
	}
	if e.Respacing != "" {
		d.TimestepRespacing = e.Respacing
		if err := d.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("eval-respacing: %w", err))
		}
	}
	return errors.Join(errs...)
}

// heldOut are the images to evaluate on.
type heldOut struct {
	pixels  []byte  // [N, H, W, C]
	labels  []int64 // [N]
	process *diffusion.GaussianDiffusion
}

// openHeldOut reads the images, if the run evaluates.
func (t *Trainer) openHeldOut() error {
	e := t.config.Eval
	if e.Interval == 0 {
		return nil
	}
	o := t.config.DataOptions()
	o.Limit = cmp.Or(e.Images, 64)
	o.CacheBytes = -1 // each is read once
	o.KnownClasses = t.dataset.ClassNames()
	dir := e.Dir
	if dir == "" {
		dir, o.HoldOut, o.HeldOut = t.config.Data.Dir, e.HoldOut, true
	}
	set, err := data.Open(dir, o)
	if err != nil {
		return t.asMoved(fmt.Errorf("images to evaluate on: %w", err), "eval-data")
	}
	defer set.Close()
	t.heldOut.pixels, t.heldOut.labels, err = set.Images()
	return err
}

// evaluationDue reports whether the current step ends with an evaluation.
func (t *Trainer) evaluationDue() bool {
	every := t.config.Eval.Interval
	return every > 0 && (t.current%every == 0 || t.done())
}

// evaluateHeldOut writes a row with the bound on the held-out images. All evaluations of all
// runs use the same noise, that of `iddpm nll` with seed 0, so that curves differ only by the
// weights. The training state does not change.
func (t *Trainer) evaluateHeldOut(ctx context.Context) error {
	begin := time.Now()
	if t.heldOut.process == nil {
		c := t.config.Diffusion
		if t.config.Eval.Respacing != "" {
			c.TimestepRespacing = t.config.Eval.Respacing
		}
		var err error
		if t.heldOut.process, err = diffusion.New(c, t.device); err != nil {
			return err
		}
	}
	index, weights := t.defaultWeights()
	about := []zap.Field{zap.Int("step", t.current), zap.String("weights", weights.Name), zap.Int("images", len(t.heldOut.labels)),
		zap.Int("timesteps", t.heldOut.process.NumTimesteps())}
	if weights.Reason != "" {
		about = append(about, zap.String("reason", weights.Reason))
	}
	t.log.Info("evaluating the bound", about...)
	var sum diffusion.BPDSum
	var err error
	t.withEMA(index, func() { sum, err = t.heldOutBound(ctx) })
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
	t.log.Info("evaluated", zap.Int("step", t.current), zap.Float64(EvalBPD, mean), zap.Float64(EvalBPDStderr, stderr), zap.Int("images", sum.Len()))
	t.writeMetrics([]metrics.Value{{Name: EvalBPD, Value: mean}, {Name: EvalBPDStderr, Value: stderr}, {Name: EvalMSE, Value: mse}})
	t.meter.since = t.meter.since.Add(time.Since(begin)) // the reported speed of training excludes evaluations
	return nil
}

// withEMA calls f while the network holds the weights of t.ema[index], or its own if index
// is negative.
func (t *Trainer) withEMA(index int, f func()) {
	if index < 0 {
		f()
		return
	}
	t.network.WithWeights(t.ema[index], f)
}

// upload copies images and labels to the device.
func (t *Trainer) upload(batch data.Batch) (x, y gotorch.Tensor) {
	size, channels := int64(t.config.Model.ImageSize), int64(t.config.Model.InChannels)
	n := int64(len(batch.Pixels)) / (size * size * channels)
	x = PixelsToTensor(gotorch.FromBytes(batch.Pixels, gotorch.Byte, n, size, size, channels).To(t.device))
	if t.config.Model.ClassCond {
		y = gotorch.FromInt64s(batch.Labels).To(t.device)
	}
	return x, y
}

// heldOutBound evaluates the bound of the held-out images.
func (t *Trainer) heldOutBound(ctx context.Context) (sum diffusion.BPDSum, err error) {
	h, size := t.heldOut, len(t.heldOut.pixels)/len(t.heldOut.labels)
	graphs := t.evaluationGraphs()
	defer graphs.Close()
	err = likelihood.Evaluation{
		Diffusion: h.process, Denoise: Denoiser(t.network, model.Input{Dtype: t.precision.dtype}),
		Count: len(h.labels), BatchSize: min(t.config.Train.microbatch(), t.localBatch()),
		Batch: func(first, n int) (gotorch.Tensor, diffusion.Cond, error) {
			x, y := t.upload(data.Batch{Pixels: h.pixels[first*size : (first+n)*size], Labels: h.labels[first : first+n]})
			return x, t.cond(x, y), nil
		},
		Group: t.group, GraphCache: graphs, Progress: t.adaptThreadsAt,
	}.Add(ctx, &sum)
	return sum, err
}

// evaluationGraphs returns the graph cache of one evaluation. It is closed afterwards, since
// training needs its memory.
func (t *Trainer) evaluationGraphs() *diffusion.GraphCache {
	return &diffusion.GraphCache{Off: t.config.Train.NoCUDAGraphs, OnCaptureFailed: func(err error) {
		t.log.Warn("CUDA graph capture of the evaluation failed: falling back to eager execution, which is slower", zap.Error(err))
	}}
}
