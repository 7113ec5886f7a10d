package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
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

func TestRefusalAdvice(t *testing.T) {
	const nobody = 3_000_000 // no machine has a user of this number
	for _, test := range []struct {
		name string
		r    refusal
		want []string
	}{
		{"docker made the folder", refusal{path: "/runs", mode: fs.ModeDir | 0o755, self: 1000, container: true},
			[]string{"/runs (mode 0755) belongs to root (uid 0), and iddpm runs as uid 1000", "mkdir -p runs", `--user "$(id -u):$(id -g)"`}},
		{"another user's", refusal{path: "/runs", mode: 0o700, uid: nobody, gid: 7, self: 1000, container: true},
			[]string{"/runs (mode 0700) belongs to uid 3000000, and iddpm runs as uid 1000", "docker run --user 3000000:7"}},
		{"no container", refusal{path: "/data", mode: 0o755, uid: nobody, self: 1000}, []string{"sudo chown 1000 /data"}},
		{"its own", refusal{path: "/data", mode: 0o555, uid: 1000, self: 1000, container: true}, []string{"chmod u+rwX /data"}},
		{"read-only mount", refusal{path: "/runs", uid: 1000, self: 1000, container: true, readOnly: true}, []string{"/runs is mounted read-only", "without :ro"}},
		{"read-only file system", refusal{path: "/media/x", readOnly: true}, []string{"/media/x is on a read-only file system"}},
	} {
		for _, want := range test.want {
			if got := test.r.advice(); !strings.Contains(got, want) {
				t.Errorf("%s: %q lacks %q", test.name, got, want)
			}
		}
	}
}

func TestRefusedPath(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("permission denied"), ""},
		{&fs.PathError{Op: "open", Path: "a/b", Err: syscall.ENOSPC}, ""},
		{fmt.Errorf("cannot: %w", &fs.PathError{Op: "mkdir", Path: "a/b", Err: syscall.EACCES}), "a/b"},
		{&fs.PathError{Op: "open", Path: "a/b", Err: syscall.EROFS}, "a/b"},
		{&fs.PathError{Op: "remove", Path: "a/b", Err: syscall.EPERM}, "a"},
		{errors.Join(errors.New("first"), &os.LinkError{Op: "rename", Old: "x", New: "a/b", Err: syscall.EACCES}), "a"},
	} {
		if got := refusedPath(test.err); got != test.want {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}
}
