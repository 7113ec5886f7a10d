package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"iddpm/train"
)

func TestSetShow(t *testing.T) {
	for _, test := range []struct {
		value any
		text  string
		want  any
		shown string
	}{
		{new(int), " -3 ", -3, "-3"},
		{new(uint64), "18446744073709551615", uint64(1<<64 - 1), "18446744073709551615"},
		{new(float64), "1e-4", 1e-4, "0.0001"},
		{new(bool), "Yes", true, "true"},
		{new(bool), "0", false, "false"},
		{new(string), "a b", "a b", "a b"},
		{new([]int), "16, 8", []int{16, 8}, "16,8"},
		{new([]int), "", []int(nil), ""},
		{new([]float64), "0.99,0.9999", []float64{0.99, 0.9999}, "0.99,0.9999"},
	} {
		if err := set(test.value, test.text); err != nil {
			t.Errorf("%q: %v", test.text, err)
		}
		if got := reflect.ValueOf(test.value).Elem().Interface(); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q became %v", test.text, got)
		}
		if got := show(test.value); got != test.shown {
			t.Errorf("%q is shown as %q", test.text, got)
		}
	}
}

// TestMicrobatchValue parses and formats --microbatch.
func TestMicrobatchValue(t *testing.T) {
	var o train.Options
	for _, c := range []struct {
		text, shown string
		n           int
		auto        bool
	}{{"auto", "auto", 0, true}, {" 4 ", "4", 4, false}, {"-1", "-1", -1, false}} {
		v := &microbatchValue{&o}
		if err := set(v, c.text); err != nil || o.Microbatch != c.n || o.MicrobatchAuto != c.auto || show(v) != c.shown {
			t.Errorf("%q: %v, microbatch %d, auto %t, shown as %s", c.text, err, o.Microbatch, o.MicrobatchAuto, show(v))
		}
	}
	o.Microbatch, o.MicrobatchAuto = 16, true // as a run has chosen
	if got := show(&microbatchValue{&o}); got != "16" {
		t.Errorf("a chosen microbatch is shown as %s", got)
	}
	if err := set(&microbatchValue{}, "automatic"); err == nil || !strings.Contains(err.Error(), "neither a whole number nor auto") {
		t.Errorf("automatic: %v", err)
	}
}

// TestOptions checks that names and aliases are unique and that every flag has a category
// and a help text.
func TestOptions(t *testing.T) {
	config := train.Defaults()
	for name, options := range map[string][]option{
		"train":        append(configOptions(&config), newRunOptions().options()...),
		"resume":       resumeOptions(newRunOptions(), new(train.Config)),
		"sample":       append(networkOptions(&config), newSampleOptions().options()...),
		"info":         append(configOptions(&config), new(infoOptions).options()...),
		"data prepare": newPrepareOptions().options(),
		"data info":    newDataInfoOptions().options(),
		"bench load":   newLoadOptions().options(),
		"bench":        append(timedOptions(&config), newBenchOptions().trainOptions()...),
	} {
		seen := map[string]bool{}
		for _, o := range options {
			if seen[o.name] {
				t.Errorf("%s: --%s is defined twice", name, o.name)
			}
			seen[o.name] = true
			if o.category == "" || o.usage == "" && !o.hidden {
				t.Errorf("%s: --%s has no category or no help", name, o.name)
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
	config := train.Defaults()
	timed := timedOptions(&config)
	for _, o := range append(evalOptions(&config), chosen(configOptions(&config), "data-dir", "cache", "steps", "log-interval", "gradient-noise",
		"save-interval", "keep", "keep-every", "max-skipped-steps", "init-from", "reinit-mismatched", "lr-anneal-steps", "warmup-steps")...) {
		if len(chosen(timed, o.name)) > 0 {
			t.Errorf("bench accepts --%s", o.name)
		}
	}
	for _, name := range []string{"class-cond", "num-channels", "diffusion-steps", "batch-size", "ema-rate", "precision", "threads"} {
		if len(chosen(timed, name)) != 1 {
			t.Errorf("bench does not accept --%s", name)
		}
	}
	if got := iddpm(t, "bench", "train", "--keep", "3"); got.status != exitUsage || !strings.Contains(got.stderr, "--keep") {
		t.Errorf("bench train --keep 3: %d, %s", got.status, got.stderr)
	}
}
