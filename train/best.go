package train

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"go.uber.org/zap"

	"iddpm/train/metrics"
)

// bestName is the file of the best checkpoint, beside those of steps. It is never the newest, and
// not one of those that Options.Keep counts.
const bestName = "best.pt"

// bestMetrics are the values of Options.KeepBest and the columns that they compare. A smaller
// value is better for all of them.
var bestMetrics = map[string]string{
	"loss": "loss", // the mean over a save interval
	"bpd":  EvalBPD,
	"fid":  EvalFID,
	"kid":  EvalKID,
}

// checkBest returns an error if KeepBest names no metric that the run measures.
func (c Config) checkBest() error {
	switch name := c.Train.KeepBest; name {
	case "", "loss":
		return nil
	case "bpd":
		if !c.Eval.evaluatesBound() {
			return errors.New("keep-best bpd compares evaluations on held-out images: set eval-interval, and hold-out or eval-data")
		}
	case "fid", "kid":
		if c.Eval.SampleMetric() != name {
			return fmt.Errorf("keep-best %s compares evaluations of samples: set eval-interval, eval-samples and eval-metric %s", name, name)
		}
	default:
		return fmt.Errorf("keep-best %q is not one of loss, bpd, fid, kid", name)
	}
	return nil
}

// best follows the metric that decides which checkpoint is the best. It is a function of the rows
// of the log, so that a resumed run continues it from there.
type best struct {
	column   string // "": none is kept
	every    int    // Options.SaveInterval, over which the loss is averaged
	value    float64
	improved bool // the current step is the best, and not saved yet
	interval average
}

func newBest(o Options) best {
	return best{column: bestMetrics[o.KeepBest], every: o.SaveInterval, value: math.Inf(1)}
}

// add adds a row of metrics.
func (b *best) add(step int, row metrics.Row) {
	value, ok := row.Get(b.column)
	if !ok {
		return
	}
	if b.column == bestMetrics["loss"] {
		b.interval = average{b.interval.sum + value, b.interval.count + 1}
		if step%b.every != 0 {
			return
		}
		value, b.interval = b.interval.mean(), average{}
	}
	if value < b.value { // false for NaN
		b.value, b.improved = value, true
	}
}

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
		t.best.add(row.Step, row)
	}
	t.best.improved = false
	return nil
}

func (t *Trainer) bestPath() string { return filepath.Join(t.run.Dir, checkpointDir, bestName) }

// saveBest writes the current state as the best checkpoint, in the background, if it is that.
func (t *Trainer) saveBest() error {
	if !t.best.improved || !t.healthy() {
		return nil
	}
	t.best.improved = false
	dict, err := t.pack()
	if err != nil {
		return err
	}
	t.run.Log.Info("the best checkpoint so far", zap.Int("step", t.Step()), zap.String("metric", t.config.Train.KeepBest), zap.Float64("value", t.best.value))
	t.bestSaver.start(t.bestPath(), dict, false)
	return nil
}
