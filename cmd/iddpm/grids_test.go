package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestTrainGrids checks that the grids of a run, also in two processes, are the bytes that sample
// writes from its checkpoint.
func TestTrainGrids(t *testing.T) {
	t.Chdir(t.TempDir())
	flags := []string{"--microbatch", "2", "--steps", "2", "--sample-interval", "2", "--sample-images", "40", "--class-cond", "--num-classes", "10"}
	succeed(t, nil, trainTiny("one", flags...)...)
	succeed(t, nil, append(trainTiny("two", flags...), "--processes", "2")...)
	succeed(t, nil, "sample", "one", "--device", "cpu", "--threads", "1", "--num-samples", "40", "--use-ddim", "--timestep-respacing", "ddim8", "-o", "s")
	want := readFile(t, "s/samples_40x8x8x3.png")
	for _, run := range []string{"one", "two"} {
		if !bytes.Equal(readFile(t, run+"/samples/step-000002.png"), want) {
			t.Errorf("the grid of run %s is not that of its checkpoint", run)
		}
	}
}

// TestTrainSampleMetric checks that two processes evaluate samples as one does, without
// held-out images.
func TestTrainSampleMetric(t *testing.T) {
	t.Chdir(t.TempDir())
	weights, err := madeUpWeights()
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{"--microbatch", "2", "--steps", "2", "--eval-interval", "2", "--eval-samples", "18", "--eval-metric", "kid", "--eval-inception", weights,
		"--data-dir", "images.npz", "--keep-best", "kid"}
	saveImages(t, "images.npz", 4, 8)
	succeed(t, nil, trainTiny("one", flags...)...)
	succeed(t, nil, append(trainTiny("two", flags...), "--processes", "2")...)
	one, two := csvOf(t, "one"), csvOf(t, "two")
	if !slices.Contains(one[0], "eval_kid") || fmt.Sprint(one) != fmt.Sprint(two) {
		t.Errorf("the metrics differ:\n%v\n%v", one, two)
	}
	sameState(t, "one/checkpoints/best.pt", "two/checkpoints/best.pt")
	missing := iddpm(t, trainTiny("three", "--eval-interval", "2", "--eval-samples", "1")...)
	if missing.status != exitUsage || !strings.Contains(missing.stderr, "at least 2") {
		t.Errorf("%d, %s", missing.status, missing.stderr)
	}
}

// TestGridsByDefault checks when a run makes grids: with a preset, or if a flag says so; not for a
// command line of improved-diffusion, and not for a super-resolution network.
func TestGridsByDefault(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"emoji"}, "auto"},
		{[]string{"imagenet256-upsample"}, "0"},
		{[]string{"cifar10", "--sample-interval", "500"}, "500"},
	} {
		if got := settingOf(t, test.args, "sample-interval"); got != test.want {
			t.Errorf("%v: %s, want %s", test.args, got, test.want)
		}
	}
	got := iddpm(t, trainTiny(t.TempDir()+"/run", "--steps", "1")...)
	if got.status != exitDone || strings.Contains(got.stderr, "grid") {
		t.Errorf("%d, %s", got.status, got.stderr)
	}
	for flags, want := range map[string]string{
		"--sample-interval -2":                                 "neither a number of steps nor auto",
		"--sample-images -1":                                   "sample-images must not be negative",
		"--sample-respacing ddim7":                             "sample-respacing: ",
		"--sample-interval 1 --super-res --small-size 4":       "needs low-resolution images",
		"--sample-interval sometimes --sample-respacing ddim8": `"sometimes" is neither`,
	} {
		got := iddpm(t, trainTiny(t.TempDir()+"/run", strings.Fields(flags)...)...)
		if got.status != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %d, %s", flags, got.status, got.stderr)
		}
	}
}

// settingOf returns a setting as info prints it.
func settingOf(t *testing.T, args []string, name string) string {
	t.Helper()
	got := iddpm(t, append([]string{"info"}, args...)...)
	for line := range strings.SplitSeq(got.stdout, "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == name {
			return words[1]
		}
	}
	t.Fatalf("info %v: %d, no %s in %s%s", args, got.status, name, got.stdout, got.stderr)
	return ""
}
