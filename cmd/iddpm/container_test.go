package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"iddpm/internal/host"

	"github.com/wangkuiyi/gotorch"
)

func TestMountedAtRoot(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("here.pt", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	root := files(map[string]string{"ckpt.pt": "", "here.pt": "", "data/ckpt.pt": ""})
	for name, want := range map[string]string{"ckpt.pt": "/ckpt.pt", "./data/ckpt.pt": "/data/ckpt.pt", "here.pt": "here.pt", "data": "data",
		"none.pt": "none.pt", "/ckpt.pt": "/ckpt.pt", "../ckpt.pt": "../ckpt.pt"} {
		if got := host.MountedAtRoot(root, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestLogFallback checks that a hint, or an unusable GPU, makes the log line a warning.
func TestLogFallback(t *testing.T) {
	for _, test := range []struct {
		reason error
		hint   string
		want   string
	}{
		{gotorch.ErrNoGPU, "", "INFO  running on the CPU"},
		{gotorch.ErrNoGPU, "a cure", "WARN  running on the CPU"},
		{errors.New("the driver is too old"), "", "WARN  running on the CPU"},
	} {
		var log strings.Builder
		p := program{stderr: &log, env: variables(nil)}
		p.newSession(false, false).devices().logFallback(test.reason, test.hint)
		if got := log.String(); !strings.Contains(got, test.want) || !strings.Contains(got, test.reason.Error()) || !strings.Contains(got, test.hint) {
			t.Errorf("%v, %q: %s", test.reason, test.hint, got)
		}
	}
}

// Gloo is worth a line only where shared memory was to be expected.
func TestLogGloo(t *testing.T) {
	for reason, want := range map[string]string{
		"":                         "",
		"rank 1: it has no memory": "INFO  all-reduces go through gloo",
	} {
		var log strings.Builder
		p := program{stderr: &log, env: variables(nil)}
		p.newSession(false, false).logGloo(reason)
		if got := log.String(); (got != "") != (want != "") || !strings.Contains(got, want) || !strings.Contains(got, reason) {
			t.Errorf("%q: %s", reason, got)
		}
	}
}

// TestWarnOfLoss checks the warning for a run folder in a container's own file system.
func TestWarnOfLoss(t *testing.T) {
	dir := t.TempDir()
	for _, container := range []bool{true, false} {
		var log strings.Builder
		p := program{stderr: &log, env: variables(nil)}
		s := p.newSession(false, false)
		s.container = container
		s.warnOfLoss(dir)
		want := container && host.GoesWithContainer(os.DirFS("/"), dir)
		if got := strings.Contains(log.String(), "lost when the container is removed"); got != want {
			t.Errorf("in a container: %v: %q", container, log.String())
		}
	}
}

// files returns a file system of texts by path.
func files(texts map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range texts {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}
