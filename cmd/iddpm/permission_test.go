package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withoutPrivilege calls f, which may start processes, without root's capability to ignore
// the mode of a folder.
func withoutPrivilege(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock it: the thread ends with this goroutine
		for _, capability := range []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH} {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0) // only root has it
		}
		f()
	}()
	<-done
}

// refusing creates a folder without write permission.
func refusing(t *testing.T, dir string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o777), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
}

// TestResumeFromReadOnlyFolder checks that a single checkpoint in a folder without write
// permission resumes in a new run folder.
func TestResumeFromReadOnlyFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "2")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	for _, dir := range []string{"bare", "folder/checkpoints"} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Link("a/checkpoints/ckpt-000002.pt", dir+"/ckpt-000002.pt"); err != nil {
			t.Fatal(err)
		}
		refusing(t, dir)
	}
	refusing(t, "folder")
	refusing(t, "a")
	for _, test := range []struct {
		args   []string
		status int
		want   []string
		run    string // where the run continues
	}{
		{[]string{"bare/ckpt-000002.pt", "--steps", "3"}, exitDone, []string{"runs/001-ckpt-000002"}, "runs/001-ckpt-000002"},
		{[]string{"folder/checkpoints", "--steps", "4"}, exitDone, []string{"runs/002-checkpoints"}, "runs/002-checkpoints"},
		{[]string{"bare/ckpt-000002.pt", "--steps", "5", "--run-dir", "b"}, exitDone, nil, "b"},
		{[]string{"bare/ckpt-000002.pt", "--steps", "1"}, exitFailed, []string{"cannot end at step 1"}, ""},
		{[]string{"a", "--steps", "3"}, exitFailed, []string{"--run-dir DIR resumes in another folder", "a (mode 0555) belongs to"}, ""},
	} {
		var p *process
		withoutPrivilege(func() { p = start(t, append([]string{"resume", "--device", "cpu"}, test.args...)...) })
		if status := p.end(); status != test.status {
			t.Fatalf("%v: status %d: %s", test.args, status, p.stderrSoFar())
		}
		for _, want := range test.want {
			if !strings.Contains(p.stderrSoFar(), want) {
				t.Errorf("%v: %q lacks %q", test.args, p.stderrSoFar(), want)
			}
		}
		if test.run != "" && len(checkpoints(test.run)) != 1 {
			t.Errorf("%v: %s holds %v", test.args, test.run, checkpoints(test.run))
		}
	}
	if left, _ := filepath.Glob("runs/*"); len(left) != 2 {
		t.Errorf("there are %v", left)
	}
}

// TestRefusedFolder checks that an error of missing write permission names the folder, its
// owner and the cure.
func TestRefusedFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	refusing(t, "runs")
	refusing(t, "out")
	for _, args := range [][]string{
		append([]string{"train", "--device", "cpu"}, tiny...),
		trainTiny("out/run"),
		{"figure", "alpha-bar", "-o", "out/alpha-bar.png"},
		{"data", "info", "-o", "out/sheet.png"},
	} {
		var p *process
		withoutPrivilege(func() { p = start(t, args...) })
		status, said := p.end(), p.stderrSoFar()
		if status != exitFailed || !strings.Contains(said, "(mode 0555) belongs to") || !strings.Contains(said, fmt.Sprintf("iddpm runs as uid %d", os.Getuid())) ||
			!strings.Contains(said, "chmod u+rwX") {
			t.Errorf("%v: status %d: %s", args, status, said)
		}
	}
}
