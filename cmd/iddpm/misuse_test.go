package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"iddpm/internal/cli"
)

// TestEmptyPaths checks that an empty path, as from an unset shell variable, is an error.
func TestEmptyPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	p := program{env: variables(nil)}
	root := cli.SyntaxOf(p.app().Flags, p.app().Commands)
	for _, command := range [][]string{{"train"}, {"resume"}, {"sample"}, {"nll"}, {"evaluate"}, {"export"}, {"info"}, {"data", "info"}, {"data", "prepare"}, {"bench", "train"}, {"bench", "load"}} {
		own := root.Of(command)
		for name, f := range own.Flags {
			if !f.Path {
				continue
			}
			for _, args := range [][]string{{"--" + name, ""}, {"--" + name + "="}, {"--" + strings.ReplaceAll(name, "-", "_"), " "}} {
				got := iddpm(t, append(append([]string{}, command...), args...)...)
				if got.status != exitUsage || !strings.Contains(got.stderr, "--"+f.Name+" is empty") {
					t.Errorf("%q %q: %d, %s", command, args, got.status, got.stderr)
				}
			}
		}
	}
	for _, flag := range []struct{ command, name string }{
		{"train", "run-dir"}, {"train", "data-dir"}, {"train", "init-from"}, {"train", "config"}, {"train", "labels"}, {"train", "eval-data"},
		{"resume", "run-dir"}, {"sample", "out-dir"}, {"sample", "upsample"}, {"sample", "latents"}, {"sample", "base-samples"}, {"sample", "invert"}, {"sample", "model-path"},
		{"evaluate", "ref"}, {"evaluate", "save-stats"}, {"evaluate", "inception"}, {"export", "out"}, {"nll", "data-dir"},
	} {
		if !root.Of([]string{flag.command}).Flags[flag.name].Path {
			t.Errorf("%s --%s is no path", flag.command, flag.name)
		}
	}
	for _, args := range [][]string{{"sample", ""}, {"info", ""}, {"data", "info", " "}, {"evaluate", ""}} {
		if got := iddpm(t, args...); got.status != exitUsage || !strings.Contains(got.stderr, "empty") {
			t.Errorf("%q: %d, %s", args, got.status, got.stderr)
		}
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestIrregularFiles passes a pipe, a socket, a device and a folder for every file argument:
// none may block.
func TestIrregularFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ending := range []string{".npz", ".csv", ".yaml", ".safetensors", ".pt", ".zip", ".mdb", ".png"} {
		if err := os.Symlink("pipe", "pipe"+ending); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	src := imageFolder(t, 2, 8, 8, false)
	for _, args := range [][]string{
		{"sample", "pipe"}, {"sample", "pipe.safetensors"}, {"sample", "pipe.pt"}, {"sample", "socket"}, {"sample", "/dev/zero"}, {"info", "pipe"}, {"export", "pipe.pt", "-o", "a.pt"},
		{"nll", "pipe"}, {"resume", "pipe"}, {"train", "--init-from", "pipe"}, {"train", "--config", "pipe"}, {"train", "--config", "/dev/zero"}, {"train", "--config", dir},
		{"train", "--data-dir", "pipe"}, {"train", "--data-dir", "pipe.zip"}, {"train", "--data-dir", "/dev/zero"}, {"data", "info", "pipe.mdb"}, {"data", "info", "pipe.png"},
		{"data", "info", src, "--labels", "pipe.csv"}, {"train", "--data-dir", src, "--class-cond", "--labels", "pipe.csv"},
		{"evaluate", "pipe.npz"}, {"evaluate", src, "--ref", "pipe.npz"}, {"evaluate", src, "--inception", "pipe"}, {"evaluate", src, "--inception", "/dev/zero"},
	} {
		done := make(chan outcome, 1)
		go func() { done <- iddpm(t, args...) }()
		select {
		case got := <-done:
			if got.status != exitFailed && got.status != exitUsage || !regexp.MustCompile(`a pipe|a socket|a device|a folder`).MatchString(got.stderr) {
				t.Errorf("%q: %d, %s", args, got.status, got.stderr)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q waits", args)
		}
	}
}

// TestDeletedWorkingFolder runs the program in a deleted folder.
func TestDeletedWorkingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"train", "--steps", "1"}, {"info", "cifar10"}, {"sample", "/nowhere"}} {
		if got := iddpm(t, args...); got.status != exitFailed || !strings.Contains(got.stderr, "working folder has been deleted") {
			t.Errorf("%q: %d, %s", args, got.status, got.stderr)
		}
	}
	if got := iddpm(t, "help", "train"); got.status != exitDone {
		t.Errorf("help: %d, %s", got.status, got.stderr)
	}
}

// TestStandardWords checks that flags accept their defaults as help shows them.
func TestStandardWords(t *testing.T) {
	p := program{env: variables(nil)}
	root := cli.SyntaxOf(p.app().Flags, p.app().Commands)
	for _, c := range []struct{ command, flag, word string }{
		{"train", "timestep-respacing", "all"}, {"sample", "timestep-respacing", "all"}, {"sample", "upsample-timestep-respacing", "all"},
		{"train", "eval-respacing", "as trained"}, {"train", "jpeg-decoder", "auto"}, {"train", "background", "white"},
	} {
		if err := root.Of([]string{c.command}).Flags[c.flag].Check(c.word); err != nil {
			t.Errorf("%s --%s %s: %v", c.command, c.flag, c.word, err)
		}
	}
	t.Chdir(t.TempDir())
	succeed(t, nil, trainTiny("a", "--steps", "1", "--timestep-respacing", "all", "--eval-respacing", "as trained")...)
	succeed(t, nil, "sample", "a", "--num-samples", "1", "--timestep-respacing", "all", "--device", "cpu")
}

// TestAttentionWithoutFeatureMap checks the error for an attention resolution that no feature
// map has.
func TestAttentionWithoutFeatureMap(t *testing.T) {
	t.Chdir(t.TempDir())
	got := iddpm(t, "train", "--image-size", "32", "--channel-mult", "1,2", "--attention-resolutions", "5", "--steps", "1")
	if got.status != exitUsage || !strings.Contains(got.stderr, "--attention-resolutions 5") || !strings.Contains(got.stderr, "32,16") {
		t.Errorf("%d, %s", got.status, got.stderr)
	}
}

// TestEvaluateStray checks that a single image of another size, first by name, does not
// determine the size of the samples.
func TestEvaluateStray(t *testing.T) {
	dir := imageFolder(t, 4, 16, 16, false)
	stray := imageFolder(t, 1, 1, 1, false)
	entries, err := os.ReadDir(stray)
	if err != nil || len(entries) == 0 {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(stray, entries[0].Name()), filepath.Join(dir, "0-stray.png")); err != nil {
		t.Fatal(err)
	}
	got := evaluateWith(t, dir, "--json")
	if got.status != exitDone || !strings.Contains(got.stdout, `"image_size":16`) || !strings.Contains(got.stderr, "0-stray.png") || !strings.Contains(got.stderr, "several sizes") {
		t.Errorf("%d, %s%s", got.status, got.stdout, got.stderr)
	}
}
