package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"iddpm/checkpoint"
)

// TestResumeFlags checks that a resumed run keeps its settings: flags that differ are named,
// and impossible ones are rejected.
func TestResumeFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "2")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	resume := func(args ...string) []string { return append([]string{"resume", "a", "--device", "cpu"}, args...) }
	auto := func(args ...string) []string { return trainTiny("a", append(args, "--auto-resume")...) }
	const ignored = "ignoring flags: the run keeps its own settings"
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
		{"steps of the past", resume("--steps", "1"), exitFailed, "is at step 2, so the run cannot end at step 1"},
		{"no time for a step", resume("--step-timeout", "0"), exitUsage, "--step-timeout must be above 0 minutes, not 0"},
		{"a negative wait", resume("--upload-wait", "-1"), exitUsage, "--upload-wait must be 0 minutes or more, not -1"},
		{"too long a timeout", resume("--connect-timeout", "99999999999"), exitUsage, "--connect-timeout must be from 1 to 31536000 seconds"},
		{"auto, the same", auto("--steps", "2", "--precision", "fp32"), exitDone, ""},
		{"auto, ignored", auto("--steps", "2", "--lr", "5", "--keep", "1"), exitDone, ignored + `  {"flags": ["--lr", "--keep"]}`},
		{"auto, steps of the past", auto("--steps", "1"), exitFailed, "is at step 2, so the run cannot end at step 1"},
		{"threads", resume("--threads", "2"), exitDone, `{"reason": "threads", "was": 1, "is": 2, `},
	} {
		before := config(t, "a")
		got := iddpm(t, test.args...)
		if got.status != test.status || !strings.Contains(got.stderr, test.want) || test.want == "" && strings.Contains(got.stderr, ignored) {
			t.Errorf("%s: status %d, not %d: %s", test.name, got.status, test.status, got.stderr)
		}
		if after := config(t, "a"); after != before && test.name != "threads" {
			t.Errorf("%s: the configuration changes:\n%s", test.name, after)
		}
	}
}

// A run of a preset that predicted epsilon resumes so, and its own flags are no contradiction.
func TestResumePredict(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{{"--predict", "epsilon", "--steps", "1"}, {"--auto-resume", "--steps", "2"}} {
		got := iddpm(t, trainTiny("a", append(args, "--preset", "emoji")...)...)
		if got.status != exitDone || !strings.Contains(config(t, "a"), `"predict": "epsilon"`) {
			t.Errorf("%v: status %d, %s%s", args, got.status, got.stderr, config(t, "a"))
		}
	}
}

// TestResumeData checks that a run with moved or unreadable images can be resumed by every
// command.
func TestResumeData(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Rename(imageFolder(t, 5, 8, 8, false), "photos"); err != nil {
		t.Fatal(err)
	}
	if got := iddpm(t, trainTiny("a", "--steps", "2", "--data-dir", "photos")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	if err := errors.Join(os.Rename("photos", "moved"), os.Truncate("moved/odd_00003.png", 45)); err != nil {
		t.Fatal(err)
	}
	resume := func(args ...string) []string { return append([]string{"resume", "a", "--device", "cpu"}, args...) }
	for _, test := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"moved", resume("--steps", "20"), exitFailed, "name their new location by --data-dir"},
		{"bad", resume("--steps", "20", "--data-dir", "moved"), exitFailed, "--max-bad-images"},
		{"left out", resume("--steps", "20", "--max-bad-images", "1", "--data-dir", "moved"), exitDone, ""},
		{"remembered", resume("--steps", "21"), exitDone, ""},
		{"--auto-resume", trainTiny("a", "--auto-resume", "--steps", "22", "--data-dir", "moved", "--max-bad-images", "2"), exitDone, ""},
	} {
		if got := iddpm(t, test.args...); got.status != test.status || !strings.Contains(got.stderr, test.want) || strings.Contains(got.stderr, "change nothing") {
			t.Errorf("%s: %d, %s", test.name, got.status, got.stderr)
		}
	}
	if !strings.Contains(config(t, "a"), `"max_bad_images": 2`) {
		t.Errorf("the configuration is %s", config(t, "a"))
	}
}

// config returns the content of a run's config.json.
func config(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(dir + "/" + checkpoint.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
