package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

func TestVersion(t *testing.T) {
	var r versionResult
	if got := iddpm(t, "version", "--json"); got.status != exitDone || json.Unmarshal([]byte(got.stdout), &r) != nil {
		t.Fatalf("%d, %s%s", got.status, got.stdout, got.stderr)
	}
	if r.Version != version || r.Libtorch != gotorch.Version || r.CPUCapability == "" || r.LibtorchError != "" || r.Commit == "" {
		t.Errorf("%+v", r)
	}
	got := iddpm(t, "version")
	for _, want := range []string{"iddpm   ", "commit   ", "libtorch                  " + gotorch.Version, "cpu capability            " + r.CPUCapability, "cuda    "} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("prints %s, want %q", got.stdout, want)
		}
	}
	if got := iddpm(t, "version", "now"); got.status != exitUsage {
		t.Errorf("an argument: status %d", got.status)
	}
}

func TestDoctor(t *testing.T) {
	var r doctorResult
	dir := t.TempDir()
	if got := iddpm(t, "doctor", "--run-dir", filepath.Join(dir, "runs"), "--json"); json.Unmarshal([]byte(got.stdout), &r) != nil || (got.status == exitDone) != r.Healthy {
		t.Fatalf("%d, %s%s", got.status, got.stdout, got.stderr)
	}
	if len(r.Checks) != 8 || r.Checks[0].Name != "libtorch" || r.Checks[0].State != "ok" {
		t.Errorf("%+v", r)
	}
	got := iddpm(t, "doctor", "--run-dir", "/proc/self/status/runs")
	if got.status != exitFailed || !strings.Contains(got.stderr, "training is not possible: disk") || !strings.Contains(got.stdout, "--run-dir DIR") {
		t.Errorf("a file as a folder: %d, %s%s", got.status, got.stdout, got.stderr)
	}
}
