package main

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestTrainServes reads the metrics and the page of a run while it trains.
func TestTrainServes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	p := start(t, trainTiny(dir, "--steps", "1000000", "--log-interval", "1", "--save-interval", "2", "--metrics-addr", "127.0.0.1:0", "--watch")...)
	p.await(t, "INFO  saved")
	address := func(field string) string {
		t.Helper()
		found := regexp.MustCompile(`"` + field + `": "(http://127[^"]+)"`).FindStringSubmatch(p.stderrSoFar())
		if found == nil {
			t.Fatalf("no %s in %s", field, p.stderrSoFar())
		}
		return found[1]
	}
	got := getText(t, address("url"))
	for _, want := range []string{"iddpm_step ", "iddpm_loss ", "iddpm_images_per_second ", "iddpm_grad_norm ", "iddpm_data_wait ", "iddpm_checkpoint_timestamp_seconds "} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if page := getText(t, address("page")); !strings.Contains(page, "<html") {
		t.Errorf("the page is %s", page)
	}
	p.signal(t, syscall.SIGTERM)
	if status := p.end(); status != exitSaved {
		t.Errorf("status %d: %s", status, p.stderrSoFar())
	}
}

func getText(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return string(text)
}

// TestMetricsAddressInUse: the run does not begin without its metrics.
func TestMetricsAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	got := iddpm(t, trainTiny(filepath.Join(t.TempDir(), "run"), "--metrics-addr", taken.Addr().String())...)
	if got.status != exitFailed || !strings.Contains(got.stderr, "choose another address by --metrics-addr") {
		t.Errorf("status %d: %s", got.status, got.stderr)
	}
}
