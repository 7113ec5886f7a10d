package train

import (
	"context"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/train/metrics"
)

// evaluateClasses writes a row with the cross-entropy and the accuracies of a classifier on the
// held-out images, overall and by the quartile of t: image i of n at (2i+1)/2n of the timesteps, with
// noise that all evaluations share. Every rank evaluates all images, which are few.
func (t *Trainer) evaluateClasses(ctx context.Context) (err error) {
	started := time.Now()
	index, weights := checkpoint.DefaultWeights(t.config.Train, t.Step())
	means := averages{}
	t.engine.WithEMA(index, func() { err = t.classifyHeldOut(ctx, means) })
	if err != nil {
		return err
	}
	var row []metrics.Value
	for _, v := range means.values() {
		row = append(row, metrics.Value{Name: "eval_" + v.Name, Value: v.Value})
	}
	t.run.Log.Info("evaluated", zap.Int("step", t.Step()), zap.String("weights", weights.Name), zap.Int("images", len(t.heldOut.labels)),
		zap.Float64("loss", means["loss"].mean()), zap.Float64(Top1, means[Top1].mean()), zap.Float64(Top5, means[Top5].mean()))
	t.writeMetrics(row)
	t.meter.exclude(started)
	return nil
}

// classifyHeldOut adds the results of all held-out images to means, batch by batch.
func (t *Trainer) classifyHeldOut(ctx context.Context, means averages) error {
	h, o := t.heldOut, t.engine.Options()
	n, size, steps := len(h.labels), len(h.pixels)/len(h.labels), t.engine.Diffusion().NumTimesteps()
	for first := 0; first < n; first += min(o.Microbatch, o.LocalBatch()) {
		end := min(first+min(o.Microbatch, o.LocalBatch()), n)
		at := make([]int64, end-first)
		for i := range at {
			if !o.CleanImages {
				at[i] = int64((2*(first+i) + 1) * steps / (2 * n))
			}
		}
		gotorch.Scope(func() {
			x, y := t.upload(data.Batch{Pixels: h.pixels[first*size : end*size], Labels: h.labels[first:end]})
			r := t.engine.Evaluate(x, y, at, first)
			for name, terms := range map[string][]float64{"loss": r.Loss, Top1: r.Top1, Top5: r.Top5} {
				for i, v := range terms {
					means.addTerm(name, v, at[i], steps)
				}
			}
		})
		if err := t.syncStop(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}
