package exporter

import (
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"iddpm/train/metrics"
)

// scrape reads the metrics with Prometheus's own parser.
func scrape(t *testing.T, e *Exporter) map[string]float64 {
	t.Helper()
	server := httptest.NewServer(e.Handler())
	defer server.Close()
	response, err := http.Get(server.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	values := map[string]float64{}
	for name, family := range families {
		values[name] = family.Metric[0].Gauge.GetValue()
	}
	return values
}

func TestExporter(t *testing.T) {
	var e Exporter
	if got := scrape(t, &e); len(got) != 0 {
		t.Errorf("before the first row: %v", got)
	}
	e.Set(metrics.Row{Step: 10, Values: []metrics.Value{{Name: "loss", Value: 0.5}, {Name: "heldout/bits per dim", Value: 3.25}}})
	e.Set(metrics.Row{Step: 20, Values: []metrics.Value{{Name: "loss", Value: math.Inf(1)}}})
	e.Saved(time.UnixMilli(1500))
	want := map[string]float64{"iddpm_step": 20, "iddpm_loss": math.Inf(1), "iddpm_heldout_bits_per_dim": 3.25, "iddpm_checkpoint_timestamp_seconds": 1.5}
	got := scrape(t, &e)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %v, not %v", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("scraped %v", got)
	}
}
