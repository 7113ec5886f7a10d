package train

import (
	"errors"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/train/engine"
	"iddpm/train/metrics"
)

// observe counts a step, and at the log interval reads the metrics from the device and
// writes a row.
func (t *Trainer) observe(r *engine.Result) error {
	m := &t.meter
	m.pending = append(m.pending, r)
	m.shown.Step, m.shown.Total = t.Step(), t.config.Train.TotalSteps()
	var err error
	if t.syncEveryStep {
		err = t.count(r)
	}
	if t.logs() || err != nil {
		err = errors.Join(err, t.writeRow())
	}
	if t.run.Progress != nil {
		t.run.Progress(m.shown)
	}
	return err
}

// logs reports whether the current step ends a log interval.
func (t *Trainer) logs() bool {
	return t.Step()%t.config.Train.LogInterval == 0 || t.done() || t.meter.rows == 0
}

// count counts a step as finite or skipped.
func (t *Trainer) count(r *engine.Result) error {
	t.engine.Count(r)
	h := t.engine.Health()
	if !r.Values().NonFinite {
		return nil
	}
	if h.SkippedInARow == 1 && t.engine.Dtype() != gotorch.Half { // with fp16, overflows are part of dynamic loss scaling
		t.run.Log.Warn("the loss or the gradient is not finite: the step is skipped", zap.Int("skipped_in_all", h.Skipped))
	}
	if h.SkippedInARow >= t.config.Train.SkipLimit() {
		return errDiverged
	}
	return nil
}

// writeRow averages the pending steps into one row of metrics, with the reference's column
// names.
func (t *Trainer) writeRow() (diverged error) {
	for _, r := range t.meter.pending {
		if !t.syncEveryStep && diverged == nil {
			diverged = t.count(r)
		}
	}
	means, dataWait := t.meter.means(t.engine.Diffusion().NumTimesteps())
	t.writeMetrics(t.row(means, dataWait))
	t.run.Log.Info("step", zap.Int("step", t.Step()), zap.Float64("loss", t.meter.shown.Loss), zap.Float64("grad_norm", means["grad_norm"].mean()),
		zap.Float64("images_per_second", t.meter.shown.ImagesPerSecond))
	return diverged
}

// row returns a row of metrics in column order. dataWait is the fraction of time spent
// waiting for images.
func (t *Trainer) row(means averages, dataWait float64) []metrics.Value {
	row := []metrics.Value{{Name: "samples", Value: float64(t.position)}}
	row = append(row, means.values()...)
	row = append(row, means.noiseValues()...)
	h := t.engine.Health()
	if h.Skipped > 0 {
		row = append(row, metrics.Value{Name: "skipped_steps", Value: float64(h.Skipped)})
	}
	if t.engine.Dtype() == gotorch.Half {
		row = append(row, metrics.Value{Name: "lg_loss_scale", Value: h.Log2LossScale})
	}
	return append(row,
		metrics.Value{Name: "lr", Value: t.config.Train.LearningRate(t.Step() - 1)},
		metrics.Value{Name: "images_per_second", Value: t.meter.shown.ImagesPerSecond},
		metrics.Value{Name: "data_wait", Value: dataWait})
}

// writeMetrics writes a row to the run folder, on rank 0.
func (t *Trainer) writeMetrics(row []metrics.Value) {
	if !t.run.Group.IsLeader() {
		return
	}
	whole := metrics.Row{Step: t.Step(), Values: row}
	t.best.add(whole)
	if t.run.OnRow != nil {
		t.run.OnRow(whole)
	}
	if err := t.metrics.Write(t.Step(), row); err != nil {
		// Such as a full disk. Losing a row of metrics is better than ending the run.
		t.run.Log.Error("cannot write a row of metrics; training continues without it", zap.Int("step", t.Step()), zap.Error(err))
	}
}

// openMetrics opens the metrics files of the run folder at the current step, and reads what is the
// best checkpoint by them.
func (t *Trainer) openMetrics() (err error) {
	if t.metrics != nil {
		err = t.metrics.Close()
		t.metrics = nil
	}
	if err == nil {
		t.metrics, err = metrics.Open(t.run.Dir, t.Step())
	}
	if err == nil {
		err = t.openBest()
	}
	return err
}
