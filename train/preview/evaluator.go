package preview

import (
	"context"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/evaluate"
	"iddpm/inference"
	"iddpm/train"
	"iddpm/train/metrics"
)

// Evaluator compares samples with training images by the metric of [runconfig.EvalConfig], and writes
// it to the metrics of the run, as [train.EvalFID] or [train.EvalKID]. The samples are the first of
// seed 0, by the process of the sample grids and the default weights of the step. All processes of a
// run share the sampling; rank 0 computes the metric.
//
// An evaluation that fails, such as without weights of the Inception network, is a warning in the
// log: training continues.
//
// The zero value is ready to use, for one run.
type Evaluator struct {
	// Weights returns the file of the Inception network's weights where the configuration names
	// none; nil: [evaluate.WeightsPath]. Only rank 0 calls it.
	Weights func(ctx context.Context) (string, error)

	source
	known *evaluate.Comparison // with the run's training images; nil: not computed yet
}

// maxReference is the largest number of training images that samples are compared with.
const maxReference = 10_000

// Due reports whether the current step ends with an evaluation.
func (e *Evaluator) Due(t *train.Trainer) bool {
	c, step := t.Config().Eval, t.Step()
	return c.SampleMetric() != "" && step > 0 && (step%c.Interval == 0 || t.Done())
}

// Observe evaluates samples.
func (e *Evaluator) Observe(ctx context.Context, t *train.Trainer) error {
	return tolerate(ctx, t, "evaluate samples", e.evaluate(ctx, t))
}

func (e *Evaluator) evaluate(ctx context.Context, t *train.Trainer) error {
	started, run := time.Now(), t.Environment()
	samples, weights, err := e.sample(ctx, t, inference.SampleOptions{Count: t.Config().Eval.Samples})
	if err != nil {
		return err
	}
	var row []metrics.Value
	if run.Group.IsLeader() {
		row, err = e.score(ctx, t, samples)
	}
	if err := run.Group.SyncStop(ctx, err); err != nil || !run.Group.IsLeader() {
		return err
	}
	t.WriteMetrics(row)
	about := []zap.Field{zap.Int("step", t.Step()), zap.String("weights", weights.Name), zap.Int("samples", samples.Len()), zap.Float64("seconds", time.Since(started).Seconds())}
	for _, v := range row {
		about = append(about, zap.Float64(v.Name, v.Value))
	}
	run.Log.Info("evaluated samples", about...)
	return nil
}

// score computes the metric, in float32: FID is defined for such features.
func (e *Evaluator) score(ctx context.Context, t *train.Trainer, samples inference.Samples) (row []metrics.Value, err error) {
	path, err := e.weights(ctx, t)
	if err != nil {
		return nil, err
	}
	t.WithFloat32(func() {
		gotorch.Scope(func() { row, err = e.scoreInScope(ctx, t, path, samples) })
	})
	return row, err
}

func (e *Evaluator) scoreInScope(ctx context.Context, t *train.Trainer, path string, samples inference.Samples) ([]metrics.Value, error) {
	network, err := evaluate.Load(path, t.Environment().Device)
	if err != nil {
		return nil, &evaluate.WeightsError{Path: path, Err: err}
	}
	defer network.Free()
	if e.known == nil {
		if e.known, err = newComparison(ctx, t, network); err != nil {
			return nil, err
		}
	}
	set := network.NewSet(samples.Len())
	if err := set.AddAll(ctx, samples.Pixels, samples.Size, func(int) { t.AdaptThreads() }); err != nil {
		return nil, err
	}
	distance, stdErr, err := e.known.Distance(ctx, set)
	if t.Config().Eval.SampleMetric() == "kid" {
		return []metrics.Value{{Name: train.EvalKID, Value: distance}, {Name: train.EvalKIDStderr, Value: stdErr}}, err
	}
	return []metrics.Value{{Name: train.EvalFID, Value: distance}}, err
}

// weights returns the file of the Inception network's weights.
func (e *Evaluator) weights(ctx context.Context, t *train.Trainer) (string, error) {
	switch file := t.Config().Eval.Inception; {
	case file != "":
		return file, nil
	case e.Weights != nil:
		return e.Weights(ctx)
	}
	return evaluate.WeightsPath()
}

// newComparison computes the features of training images: of one epoch in random order, as many as
// maxReference.
func newComparison(ctx context.Context, t *train.Trainer, network *evaluate.Inception) (*evaluate.Comparison, error) {
	left := min(t.Data().Len(), maxReference)
	set := network.NewSet(left)
	batches, err := t.Data().Batches(data.LoaderOptions{BatchSize: batchSize, WorldSize: 1})
	if err != nil {
		return nil, err
	}
	defer batches.Close()
	size := t.Config().Model.ImageSize
	each := size * size * 3
	for left > 0 {
		batch, err := batches.Next(ctx)
		if err != nil {
			return nil, err
		}
		n := min(left, len(batch.Pixels)/each)
		if err := set.AddAll(ctx, batch.Pixels[:n*each], size, func(int) { t.AdaptThreads() }); err != nil {
			return nil, err
		}
		batches.Recycle(batch)
		left -= n
	}
	if t.Config().Eval.SampleMetric() == "kid" {
		return evaluate.CompareByKID(set), nil
	}
	return evaluate.CompareByFID(set)
}
