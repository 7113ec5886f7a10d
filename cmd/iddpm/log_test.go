package main

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestScreenEnvironment(t *testing.T) {
	for _, test := range []struct {
		env            map[string]string
		terminal       bool
		moves, colours bool
	}{
		{nil, true, true, true},
		{nil, false, false, false},
		{map[string]string{"NO_COLOR": "1"}, true, true, false},
		{map[string]string{"NO_COLOR": ""}, true, true, true},
		{map[string]string{"TERM": "dumb"}, true, false, false},
		{map[string]string{"TERM": "xterm"}, true, true, true},
	} {
		var out bytes.Buffer
		s := &screen{out: &out, terminal: test.terminal}
		s.applyEnvironment(func(name string) string { return test.env[name] })
		s.logger(false).Info("hello")
		if coloured := strings.Contains(out.String(), "\x1b["); s.terminal != test.moves || coloured != test.colours {
			t.Errorf("%v: moves %t, colours %t: %q", test.env, s.terminal, coloured, out.String())
		}
	}
}

// TestReportProgress checks that without a bar a job logs its first step, not every step, and
// that the next job does the same.
func TestReportProgress(t *testing.T) {
	var out bytes.Buffer
	s := (&program{stderr: &out}).newSession(false, false)
	for job := 1; job <= 2; job++ {
		for step := range 100 {
			s.reportProgress(step, 100, "bar", "working", zap.Int("step", step))
		}
		s.screen.done()
		if n := strings.Count(out.String(), "working"); n != job || !strings.Contains(out.String(), `{"step": 0}`) {
			t.Errorf("after job %d: %q", job, out.String())
		}
	}
}
