package main

import (
	"os"
	"strings"
	"testing"

	"iddpm/train"
)

// A run goes on by its own settings: flags that would change them are named, and
// those that cannot be are refused.
func TestResumeFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "2")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	resume := func(args ...string) []string { return append([]string{"resume", "a", "--device", "cpu"}, args...) }
	auto := func(args ...string) []string { return trainTiny("a", append(args, "--auto-resume")...) }
	const ignored = "these change nothing"
	for _, test := range []struct {
		name   string
		args   []string
		status int
		want   string // in standard error; "": nothing is ignored
	}{
		{"resume", resume(), exitDone, ""},
		{"the same", resume("--batch-size", "4"), exitDone, ""},
		{"ignored", resume("--lr", "5", "--keep", "1"), exitDone, ignored + `  {"flags": ["--lr", "--keep"]}`},
		{"preset", resume("--preset", "cifar10"), exitDone, ignored + `  {"flags": ["--preset"]}`},
		{"no steps", resume("--steps", "0"), exitUsage, "--steps must be above 0, not 0"},
		{"negative steps", resume("--steps", "-1"), exitUsage, "--steps must be above 0, not -1"},
		{"steps of the past", resume("--steps", "1"), exitFailed, "has taken 2 steps, so it cannot end at step 1"},
		{"auto, the same", auto("--steps", "2", "--precision", "fp32"), exitDone, ""},
		{"auto, ignored", auto("--steps", "2", "--lr", "5", "--keep", "1"), exitDone, ignored + `  {"flags": ["--lr", "--keep"]}`},
		{"auto, steps of the past", auto("--steps", "1"), exitFailed, "has taken 2 steps, so it cannot end at step 1"},
	} {
		before := config(t, "a")
		got := iddpm(t, test.args...)
		if got.status != test.status || !strings.Contains(got.stderr, test.want) || test.want == "" && strings.Contains(got.stderr, ignored) {
			t.Errorf("%s: status %d, not %d: %s", test.name, got.status, test.status, got.stderr)
		}
		if after := config(t, "a"); after != before {
			t.Errorf("%s: the configuration changes:\n%s", test.name, after)
		}
	}
}

// config returns the text of a run's configuration.
func config(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(dir + "/" + train.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
