package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"iddpm/internal/terminal"
)

// PermissionAdvice names the owner of the file or folder that this process may not access,
// and the cure. It is "" for other errors.
func PermissionAdvice(err error, container bool) string {
	path := refusedPath(err)
	if path == "" {
		return ""
	}
	r, known := refusalOf(path)
	if !known {
		return ""
	}
	r.readOnly, r.container = errors.Is(err, syscall.EROFS), container
	return r.advice()
}

// refusedPath returns the path in a permission error, or in an error of a read-only file
// system.
func refusedPath(err error) string {
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		return ""
	}
	var onPath *fs.PathError
	var onLink *os.LinkError
	switch {
	case errors.As(err, &onPath) && IsRefusal(onPath):
		if onPath.Op == "remove" || onPath.Op == "unlinkat" {
			return filepath.Dir(onPath.Path)
		}
		return onPath.Path
	case errors.As(err, &onLink) && IsRefusal(onLink):
		return filepath.Dir(onLink.New)
	}
	return ""
}

// IsRefusal reports whether an error is a missing permission or a read-only file system.
func IsRefusal(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// refusal is a file or folder that this process may not access.
type refusal struct {
	path      string
	mode      fs.FileMode
	uid, gid  int // its owner
	self      int // the uid of this process
	readOnly  bool
	container bool
}

// refusalOf finds the file or folder that denies access to a path: the path itself, or
// its nearest ancestor that exists and can be inspected.
func refusalOf(path string) (r refusal, known bool) {
	path, err := filepath.Abs(path)
	if err != nil {
		return refusal{}, false
	}
	for {
		info, err := os.Lstat(path)
		if err == nil {
			if info.Mode()&fs.ModeSymlink != 0 {
				if resolved, err := filepath.EvalSymlinks(path); err == nil {
					path = resolved
					continue
				}
			}
			owner, ok := info.Sys().(*syscall.Stat_t)
			if !ok {
				return refusal{}, false
			}
			return refusal{path: path, mode: info.Mode(), uid: int(owner.Uid), gid: int(owner.Gid), self: os.Geteuid()}, true
		}
		parent := filepath.Dir(path)
		if parent == path {
			return refusal{}, false
		}
		path = parent
	}
}

// advice names the owner, this process's uid, and the cure.
func (r refusal) advice() string {
	whose := fmt.Sprintf("%s (mode %04o) belongs to %s, and iddpm runs as uid %d", r.path, r.mode.Perm(), ownerName(r.uid), r.self)
	switch {
	case r.readOnly && r.container:
		return fmt.Sprintf("%s is mounted read-only: write to another folder, or mount one there without :ro, as in -v \"$PWD/runs:/runs\"", r.path)
	case r.readOnly:
		return fmt.Sprintf("%s is on a read-only file system: name another folder", r.path)
	case r.uid == r.self:
		return fmt.Sprintf("%s: add the permission (chmod u+rwX %s), or name another path", whose, terminal.ShellWord(r.path))
	case r.container && r.uid == 0:
		return whose + `: docker creates a missing folder of -v as root. Create it first (mkdir -p runs; ` +
			`if root owns it already: sudo chown "$(id -u):$(id -g)" runs), and run as yourself: docker run --user "$(id -u):$(id -g)"`
	case r.container:
		return fmt.Sprintf("%s: run as its owner (docker run --user %d:%d)", whose, r.uid, r.gid)
	}
	return fmt.Sprintf("%s: change its owner (sudo chown %d %s), or name another path", whose, r.self, terminal.ShellWord(r.path))
}

// ownerName returns a uid with the user's name, if this machine knows it.
func ownerName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return fmt.Sprintf("uid %d", uid)
	}
	return fmt.Sprintf("%s (uid %d)", u.Username, uid)
}
