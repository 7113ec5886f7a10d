package train

import (
	"time"

	"iddpm/train/engine"
)

// Progress is the progress of a run after a step. The metrics are those of the last log
// interval.
type Progress struct {
	Step, Total     int // Total is 0 for a run without a last step
	Loss            float64
	ImagesPerSecond float64
}

// meter collects the results of steps until the log interval ends.
type meter struct {
	pending []*engine.Result
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
	from := time.Now()
	return func() { m.waited += time.Since(from) }
}

// exclude leaves out of the reported speed of training the work that started at a time and ends now,
// such as an evaluation.
func (m *meter) exclude(started time.Time) { m.since = m.since.Add(time.Since(started)) }

// drop discards the pending steps.
func (m *meter) drop() {
	for _, r := range m.pending {
		r.Free()
	}
	m.pending = nil
}

// last returns the result of the last step that no row includes, or nil.
func (m *meter) last() *engine.Result {
	if n := len(m.pending); n > 0 {
		return m.pending[n-1]
	}
	return nil
}

// means averages the pending steps and starts the next log
// interval. dataWait is the fraction of time spent waiting for images.
func (m *meter) means(numTimesteps int) (means averages, dataWait float64) {
	means = averages{}
	samples := 0
	for _, r := range m.pending {
		samples += len(r.Timesteps)
		means.addStep(r, numTimesteps)
	}
	m.drop()
	elapsed := time.Since(m.since).Seconds()
	m.shown.Loss = means["loss"].mean()
	m.shown.ImagesPerSecond = float64(samples) / elapsed
	dataWait = m.waited.Seconds() / elapsed
	if m.rows == 0 {
		m.first = m.shown.Loss
	}
	m.rows++
	m.waited, m.since = 0, time.Now()
	return means, dataWait
}
