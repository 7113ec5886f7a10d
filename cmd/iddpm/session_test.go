package main

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// TestReportProgress checks that without a bar a job logs its first step, not every step, and
// that the next job does the same.
func TestReportProgress(t *testing.T) {
	var out bytes.Buffer
	s := (&program{stderr: &out}).newSession(false, false)
	for job := 1; job <= 2; job++ {
		for step := range 100 {
			s.reportProgress(step, 100, "bar", "working", zap.Int("step", step))
		}
		s.screen.Done()
		if n := strings.Count(out.String(), "working"); n != job || !strings.Contains(out.String(), `{"step": 0}`) {
			t.Errorf("after job %d: %q", job, out.String())
		}
	}
}
