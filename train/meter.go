package train

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"iddpm/train/metrics"
)

// meter collects the results of steps until the log interval ends.
type meter struct {
	pending []*stepResult
	started time.Time     // start of training in this process
	since   time.Time     // start of the current log interval
	waited  time.Duration // for data, in the current log interval
	shown   Progress
	first   float64 // loss of the first row
	rows    int     // written by this process
}

func (m *meter) start() {
	m.started = time.Now()
	m.since = m.started
}

// waiting starts the clock of time spent waiting for data. The function that it returns
// stops it.
func (m *meter) waiting() func() {
	begin := time.Now()
	return func() { m.waited += time.Since(begin) }
}

// observe counts a step, and at the log interval reads the metrics from the device and
// writes a row.
func (t *Trainer) observe(r *stepResult) error {
	m := &t.meter
	m.pending = append(m.pending, r)
	m.shown.Step, m.shown.Total = t.current, t.config.Train.TotalSteps()
	var err error
	if t.syncEveryStep {
		err = t.countStep(r.values().nonFinite)
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
	return t.current%t.config.Train.LogInterval == 0 || t.done() || t.meter.rows == 0
}

// writeRow averages the pending steps into one row of metrics, with the reference's column
// names.
func (t *Trainer) writeRow() error {
	m := &t.meter
	means := averages{}
	samples := 0
	var diverged error
	for _, r := range m.pending {
		samples += len(r.timesteps)
		r.addTo(means, t.diffusion.NumTimesteps())
		if !t.syncEveryStep && diverged == nil {
			diverged = t.countStep(r.values().nonFinite)
		}
		r.free()
	}
	elapsed := time.Since(m.since).Seconds()
	m.shown.Loss = means["loss"].mean()
	m.shown.ImagesPerSecond = float64(samples) / elapsed
	dataWait := m.waited.Seconds() / elapsed
	if m.rows == 0 {
		m.first = m.shown.Loss
	}
	m.rows++
	m.pending, m.waited, m.since = nil, 0, time.Now()
	t.writeMetrics(t.row(means, dataWait))
	t.log.Info("step", zap.Int("step", t.current), zap.Float64("loss", m.shown.Loss), zap.Float64("grad_norm", means["grad_norm"].mean()),
		zap.Float64("images_per_second", m.shown.ImagesPerSecond))
	return diverged
}

// writeMetrics writes a row to the run folder, on rank 0.
func (t *Trainer) writeMetrics(row []metrics.Value) {
	if !t.group.IsLeader() {
		return
	}
	if err := t.metrics.Write(t.current, row); err != nil {
		// Such as a full disk. Losing a row of metrics is better than ending the run.
		t.log.Error("cannot write a row of metrics; training continues without it", zap.Int("step", t.current), zap.Error(err))
	}
}

// drop discards the pending steps.
func (m *meter) drop() {
	for _, r := range m.pending {
		r.free()
	}
	m.pending = nil
}

// row returns a row of metrics in column order. dataWait is the fraction of time spent
// waiting for images.
func (t *Trainer) row(means averages, dataWait float64) []metrics.Value {
	row := []metrics.Value{{Name: "step", Value: float64(t.current)}, {Name: "samples", Value: float64(t.position)}}
	for _, name := range metricNames {
		if a := means[name]; a.count > 0 {
			row = append(row, metrics.Value{Name: name, Value: a.mean()})
		}
	}
	row = append(row, means.noiseValues()...)
	row = append(row, t.healthValues()...)
	return append(row,
		metrics.Value{Name: "lr", Value: t.config.Train.LearningRate(t.current - 1)},
		metrics.Value{Name: "images_per_second", Value: t.meter.shown.ImagesPerSecond},
		metrics.Value{Name: "data_wait", Value: dataWait})
}

var metricNames = func() (names []string) {
	terms := []string{"loss", "mse", "vb"}
	names = append(names, terms...)
	for _, name := range terms {
		for q := range 4 {
			names = append(names, fmt.Sprintf("%s_q%d", name, q))
		}
	}
	return append(names, "grad_norm")
}()

// average is a running mean.
type average struct {
	sum   float64
	count int
}

func (a average) mean() float64 { return a.sum / float64(a.count) }

// averages are running means by name.
type averages map[string]average

func (m averages) add(name string, v float64) {
	a := m[name]
	m[name] = average{a.sum + v, a.count + 1}
}

// addTo adds a step's losses, each times its importance weight, overall and by the quartile
// of t. A skipped step is left out of the means.
func (r *stepResult) addTo(means averages, numTimesteps int) {
	values := r.values()
	if values.nonFinite {
		return
	}
	for name, terms := range map[string][]float64{"loss": values.loss, "mse": values.mse, "vb": values.vb} {
		for i, v := range terms {
			v *= r.weights[i]
			means.add(name, v)
			means.add(fmt.Sprintf("%s_q%d", name, 4*int(r.timesteps[i])/numTimesteps), v)
		}
	}
	means.add("grad_norm", values.gradNorm)
	if len(values.noise.norms) > 0 {
		variance, squared := values.noise.estimates(values.gradNorm)
		means.add(GradNoiseVariance, variance)
		means.add(GradNoiseSquared, squared)
	}
}

// Summary returns the result of the run in this process.
func (t *Trainer) Summary() Summary {
	_, weights := t.defaultWeights()
	return Summary{
		Weights: weights,
		Step:    t.current, FirstLoss: t.meter.first, LastLoss: t.meter.shown.Loss,
		Seconds: time.Since(t.meter.started).Seconds(), Checkpoint: t.saver.safe, RunDir: t.run.Dir,
	}
}
