// Package exporter serves the newest metrics of a training run to Prometheus.
package exporter

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"iddpm/train/metrics"
)

// Exporter holds the newest value of each metric of a run. Its methods may be called from several
// goroutines.
type Exporter struct {
	mu     sync.Mutex
	step   int
	values map[string]float64 // by the name of a row's value
	saved  time.Time          // of the newest checkpoint; zero: none
}

// Set takes the values of a row. Values of earlier rows that it lacks, such as those of held-out
// images, remain.
func (e *Exporter) Set(row metrics.Row) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.values == nil {
		e.values = map[string]float64{}
	}
	e.step = row.Step
	for _, v := range row.Values {
		e.values[v.Name] = v.Value
	}
}

// Saved takes the time at which a checkpoint was written.
func (e *Exporter) Saved(at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.saved = at
}

// Handler returns the handler of /metrics: iddpm_step, iddpm_NAME for each value of log.jsonl, and
// iddpm_checkpoint_timestamp_seconds.
func (e *Exporter) Handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(e)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// Describe describes nothing, since the rows determine the metrics.
func (e *Exporter) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics to Prometheus's registry.
func (e *Exporter) Collect(to chan<- prometheus.Metric) {
	e.mu.Lock()
	defer e.mu.Unlock()
	gauge := func(name, help string, value float64) {
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc("iddpm_"+name, help, nil, nil), prometheus.GaugeValue, value)
	}
	if e.values != nil {
		gauge("step", "Optimizer steps so far.", float64(e.step))
	}
	for _, name := range slices.Sorted(maps.Keys(e.values)) {
		gauge(invalid.ReplaceAllString(name, "_"), name+" in log.jsonl.", e.values[name])
	}
	if !e.saved.IsZero() {
		gauge("checkpoint_timestamp_seconds", "Time of the newest checkpoint, in seconds since 1970.", float64(e.saved.UnixMilli())/1000)
	}
}

// invalid matches what names of Prometheus's metrics cannot have.
var invalid = regexp.MustCompile(`[^a-zA-Z0-9_]`)
