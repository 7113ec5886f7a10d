package watch

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// State is what a run is doing, as far as its files show.
type State string

// The states of a run.
const (
	Reading  State = "reading"  // its files have not been read yet
	Empty    State = "empty"    // it has logged nothing yet
	Training State = "training" // it logged or saved something a short time ago
	Stopped  State = "stopped"  // it has not for longer than its log interval
	Finished State = "finished" // it is at its last step
)

// Status describes a run.
type Status struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	State       State             `json:"state"`
	Step        int               `json:"step"`
	Steps       int               `json:"steps,omitempty"` // the last step of the run; 0: none
	Rows        int               `json:"rows"`
	Metrics     []string          `json:"metrics"`
	Rate        float64           `json:"images_per_second,omitempty"`
	ETA         float64           `json:"eta_seconds,omitempty"`
	Logged      time.Time         `json:"logged,omitzero"`
	Checkpoint  string            `json:"checkpoint,omitempty"`
	Saved       time.Time         `json:"saved,omitzero"`
	Grids       []Grid            `json:"grids"`
	Warnings    []string          `json:"warnings"`
	Differences map[string]string `json:"differences"` // settings that differ between the watched runs
}

// Statuses describes all runs, in the order given to New, and returns the version that they show.
func (w *Watcher) Statuses() (all []Status, version int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	differ := differing(w.runs)
	for _, r := range w.runs {
		all = append(all, r.status(time.Now(), differ))
	}
	return all, w.version
}

func (r *run) status(now time.Time, differ []string) Status {
	s := Status{
		ID: r.id, Name: r.name, State: r.state(now), Step: r.history.step, Steps: r.total, Rows: r.history.rows,
		Logged: r.logModified, Checkpoint: r.checkpoint, Saved: r.saved, Grids: append([]Grid{}, r.grids...), Metrics: []string{},
		Differences: map[string]string{},
	}
	for name := range r.history.series {
		s.Metrics = append(s.Metrics, name)
	}
	slices.Sort(s.Metrics)
	if rate, ok := r.history.last("images_per_second"); ok && rate > 0 && !math.IsNaN(rate) {
		s.Rate = rate
		if s.State == Training && s.Steps > s.Step {
			s.ETA = float64(s.Steps-s.Step) * r.batchSize / rate
		}
	}
	s.Warnings = append([]string{}, r.warnings(now)...)
	for _, name := range differ {
		if value, ok := r.config[name]; ok {
			s.Differences[name] = value
		}
	}
	return s
}

func (r *run) state(now time.Time) State {
	switch {
	case !r.seen:
		return Reading
	case r.total > 0 && r.history.step >= r.total:
		return Finished
	case now.Sub(later(r.logModified, r.saved)) < r.patience():
		return Training
	case r.history.rows == 0:
		return Empty
	}
	return Stopped
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// patience is how long a training run may log nothing: five log intervals, and at least two minutes
// for a first step, an evaluation or a save.
func (r *run) patience() time.Duration {
	rate, ok := r.history.last("images_per_second")
	interval := float64(max(1, integer(r.config["train.log_interval"]))) * r.batchSize
	if !ok || !(rate > 0) {
		return 2 * time.Minute
	}
	return max(2*time.Minute, time.Duration(min(5*interval/rate, 24*3600)*float64(time.Second)))
}

// warnings lists what somebody should look at.
func (r *run) warnings(now time.Time) (list []string) {
	if r.err != nil {
		list = append(list, r.err.Error())
	}
	if r.history.bad > 0 {
		list = append(list, fmt.Sprintf("%d lines of %s are not rows of metrics, or are of an earlier step than a row above", r.history.bad, logFile))
	}
	if skipped, ok := r.history.last("skipped_steps"); ok && skipped > 0 {
		list = append(list, fmt.Sprintf("%.0f steps were skipped: the loss or the gradient was not finite", skipped))
	}
	if s := r.history.series["loss"]; s != nil && s.NonFinite > 0 {
		list = append(list, fmt.Sprintf("the loss was not finite in %d rows", s.NonFinite))
	}
	if wait, ok := r.history.last("data_wait"); ok && wait > 0.1 {
		list = append(list, fmt.Sprintf("%.0f %% of the time is spent waiting for images: pack them by `iddpm data prepare`, or cache them in memory (--cache)", 100*wait))
	}
	if r.state(now) == Training && r.checkpoint == "" && r.history.step > max(1, integer(r.config["train.save_interval"])) {
		list = append(list, "there is no checkpoint yet")
	}
	return list
}

// differing returns the settings whose values differ between runs that have a configuration.
func differing(runs []*run) (names []string) {
	first := map[string]string{}
	differ := map[string]bool{}
	configured := 0
	count := map[string]int{}
	for _, r := range runs {
		if r.config == nil {
			continue
		}
		configured++
		for name, value := range r.config {
			if was, ok := first[name]; ok && was != value {
				differ[name] = true
			}
			first[name] = value
			count[name]++
		}
	}
	for name, n := range count {
		if differ[name] || n < configured {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Curve is a metric of a run for the page: values that are not finite are nil, JSON's null.
type Curve struct {
	Steps  []float64  `json:"steps"`
	Values []*float64 `json:"values"`
}

// Curves returns metrics of a run by their names, of at most limit points each. Names that the run
// does not log are missing. ok is false if there is no such run.
func (w *Watcher) Curves(id string, names []string, limit int) (curves map[string]Curve, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.byID(id)
	if r == nil {
		return nil, false
	}
	curves = map[string]Curve{}
	for _, name := range names {
		if s := r.history.series[name]; s != nil {
			curves[name] = curveOf(s.Points(limit))
		}
	}
	return curves, true
}

func curveOf(steps, values []float64) Curve {
	c := Curve{Steps: slices.Clone(steps), Values: make([]*float64, len(values))}
	for i, v := range values {
		if !math.IsNaN(v) {
			c.Values[i] = &values[i]
		}
	}
	return c
}

func (w *Watcher) byID(id string) *run {
	for _, r := range w.runs {
		if r.id == id {
			return r
		}
	}
	return nil
}
