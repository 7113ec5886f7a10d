package main

import (
	"os"
	"strings"
	"testing"

	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// TestOptions checks that names and aliases are unique and that every flag has a category
// and a help text.
func TestOptions(t *testing.T) {
	config := runconfig.Defaults()
	for name, options := range map[string][]cli.Option{
		"train":        append(cli.ConfigOptions(&config), newRunOptions().options()...),
		"resume":       resumeOptions(newRunOptions(), new(runconfig.Config)),
		"sample":       append(cli.NetworkOptions(&config), newSampleOptions().options()...),
		"info":         append(cli.ConfigOptions(&config), new(infoOptions).options()...),
		"data prepare": newPrepareOptions().options(),
		"data info":    newDataInfoOptions().options(),
		"bench load":   newLoadOptions().options(),
		"bench":        append(timedOptions(&config), newBenchOptions().trainOptions()...),
	} {
		seen := map[string]bool{}
		for _, o := range options {
			if seen[o.Name] {
				t.Errorf("%s: --%s is defined twice", name, o.Name)
			}
			seen[o.Name] = true
			if o.Category == "" || o.Usage == "" && !o.Hidden {
				t.Errorf("%s: --%s has no category or no help", name, o.Name)
			}
		}
	}
}

// TestURLsOutOfPlace checks that no command creates a folder named like a URL.
func TestURLsOutOfPlace(t *testing.T) {
	const elsewhere, unknown = "must be a path on this machine", "the supported URLs are"
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"train", "--run-dir", "https://x/y"}, unknown},
		{[]string{"train", "--run-dir", "ftp://x/y"}, unknown},
		{[]string{"train", "--run-dir", "file:/x"}, unknown},
		{[]string{"resume", "https://x/y"}, unknown},
		{[]string{"sample", "https://x/y.pt"}, unknown},
		{[]string{"info", "https://x/y.pt"}, unknown},
		{[]string{"figure", "learning-curves", "a=https://x/y"}, unknown},
		{[]string{"train", "--data-dir", "s3://bucket/photos"}, elsewhere},
		{[]string{"sample", "a.pt", "-o", "s3://bucket/x"}, elsewhere},
		{[]string{"sample", "a.pt", "--latents", "gs://bucket/x.npz"}, elsewhere},
		{[]string{"nll", "a.pt", "--out-dir", "file:///x"}, elsewhere},
		{[]string{"export", "a.pt", "-o", "s3://bucket/a.pt"}, elsewhere},
		{[]string{"export", "a.pt", "--reference-layout", "https://x/y"}, elsewhere},
		{[]string{"figure", "alpha-bar", "-o", "file:///x.png"}, elsewhere},
		{[]string{"bench", "load", "--data-dir", "s3://bucket/photos"}, elsewhere},
		{[]string{"data", "info", "s3://bucket/photos"}, elsewhere},
		{[]string{"data", "info", "-o", "s3://bucket/sheet.png"}, elsewhere},
		{[]string{"data", "prepare", "photos", "gs://bucket/photos.zip"}, elsewhere},
	} {
		t.Chdir(t.TempDir())
		got := iddpm(t, test.args...)
		if got.status != exitUsage || !strings.Contains(got.stderr, test.want) || got.stdout != "" {
			t.Errorf("%v: status %d, %s%s", test.args, got.status, got.stdout, got.stderr)
		}
		if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
			t.Errorf("%v left %v, %v", test.args, left, err)
		}
	}
}

// TestBenchRefusesUnusedFlags checks that bench rejects flags without effect there: the
// source of images, the end of a run, and what it logs, saves and evaluates.
func TestBenchRefusesUnusedFlags(t *testing.T) {
	config := runconfig.Defaults()
	timed := timedOptions(&config)
	for _, o := range append(cli.EvalOptions(&config), cli.Select(cli.ConfigOptions(&config), "data-dir", "cache", "steps", "log-interval", "gradient-noise",
		"save-interval", "keep", "keep-every", "max-skipped-steps", "init-from", "reinit-mismatched", "lr-anneal-steps", "warmup-steps")...) {
		if len(cli.Select(timed, o.Name)) > 0 {
			t.Errorf("bench accepts --%s", o.Name)
		}
	}
	for _, name := range []string{"class-cond", "num-channels", "diffusion-steps", "batch-size", "ema-rate", "precision", "threads"} {
		if len(cli.Select(timed, name)) != 1 {
			t.Errorf("bench does not accept --%s", name)
		}
	}
	if got := iddpm(t, "bench", "train", "--keep", "3"); got.status != exitUsage || !strings.Contains(got.stderr, "--keep") {
		t.Errorf("bench train --keep 3: %d, %s", got.status, got.stderr)
	}
}
