package train

import (
	"path/filepath"

	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/train/metrics"
)

// openBest reads the best value so far from the log of the run folder, at the current step.
func (t *Trainer) openBest() error {
	t.best = newBest(t.config.Train)
	if t.best.column == "" {
		return nil
	}
	rows, err := metrics.Read(t.run.Dir)
	if err != nil {
		return err
	}
	for _, row := range rows {
		t.best.add(row)
	}
	t.best.improved = false
	return nil
}

func (t *Trainer) bestPath() string { return filepath.Join(t.run.Dir, checkpoint.Dir, bestName) }

// saveBest writes the current state as the best checkpoint, in the background, if it is that.
func (t *Trainer) saveBest() error {
	if !t.best.improved || !t.healthy() {
		return nil
	}
	t.best.improved = false
	dict, err := t.state().Pack()
	if err != nil {
		return err
	}
	t.run.Log.Info("the best checkpoint so far", zap.Int("step", t.Step()), zap.String("metric", t.config.Train.KeepBest), zap.Float64("value", t.best.value))
	t.bestSaver.start(t.bestPath(), dict, false)
	return nil
}
