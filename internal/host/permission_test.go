package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

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
