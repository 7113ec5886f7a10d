package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iddpm/inference"
	"iddpm/internal/cli"
)

func TestUnused(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.npz", "b-2.png"} {
		writeTo(t, filepath.Join(dir, name), nil)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "link.png")); err != nil {
		t.Fatal(err)
	}
	tooLong := strings.Repeat("a", 300) + ".png"
	for _, test := range []struct {
		names, want []string
	}{
		{[]string{"b.npz", "b.png"}, []string{"b.npz", "b.png"}},
		{[]string{"a.npz", "c.png"}, []string{"a-2.npz", "c-2.png"}},
		{[]string{"a.npz", "", "b.png"}, []string{"a-3.npz", "", "b-3.png"}},
		{[]string{"link.png"}, []string{"link-2.png"}},
		{[]string{tooLong}, []string{tooLong}},
	} {
		var names []*string
		for _, name := range test.names {
			names = append(names, new(name))
		}
		cli.FreePaths(dir, names...)
		for i, want := range test.want {
			if want != "" {
				want = filepath.Join(dir, want)
			}
			if *names[i] != want {
				t.Errorf("%v: %s, want %s", test.names, *names[i], want)
			}
		}
	}
}

// TestSaveInRemovedFolder saves samples in a folder that was removed while they were generated.
func TestSaveInRemovedFolder(t *testing.T) {
	o := &sampleJob{sampleOptions: new(sampleOptions), dir: filepath.Join(t.TempDir(), "removed")}
	var r sampleResult
	if err := o.save(&r, generated{Samples: inference.Samples{Images: inference.Images{Size: 2, Pixels: make([]byte, 12)}}}); err != nil {
		t.Fatal(err)
	}
	if !cli.Exists(r.Samples) || !cli.Exists(r.Grid) {
		t.Errorf("%+v is not there", r)
	}
}

// TestSampleUnwritable checks that an unwritable output folder is an error before sampling,
// and that no result is printed.
func TestSampleUnwritable(t *testing.T) {
	run := tinyRun(t)
	file := filepath.Join(t.TempDir(), "file")
	writeTo(t, file, nil)
	for _, format := range []string{"--json=true", "--json=false"} {
		got := iddpm(t, "sample", run, "--device", "cpu", "--num-samples", "1", "-o", filepath.Join(file, "below"), format)
		if got.status != exitFailed || got.stdout != "" || !strings.Contains(got.lastLine(), "name another by -o") || strings.Contains(got.stderr, "sampling") {
			t.Errorf("%s: status %d, %s%s", format, got.status, got.stdout, got.stderr)
		}
	}
}

// TestSampleReplacesNothing checks that samples never overwrite those of an earlier command.
func TestSampleReplacesNothing(t *testing.T) {
	run := tinyRun(t)
	first := sample(t, run, "--num-samples", "2")
	second := sample(t, run, "--num-samples", "2", "--seed", "1")
	if filepath.Base(second.Samples) != "samples_2x8x8x3-2.npz" || filepath.Base(second.Grid) != "samples_2x8x8x3-2.png" {
		t.Errorf("the second images are in %s and %s", second.Samples, second.Grid)
	}
	if again := sample(t, run, "--num-samples", "2"); !bytes.Equal(again.pixels, first.pixels) || bytes.Equal(again.pixels, second.pixels) {
		t.Error("the seed does not decide the images")
	}
	for _, file := range []string{first.Samples, first.Grid, second.Samples, second.Grid} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
}
