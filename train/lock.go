package train

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// LockFile keeps a second process out of a run folder. Its text names the process that
// holds the lock. The lock itself is flock's, which the kernel releases when the process ends.
const LockFile = "run.lock"

// folderLock is a locked run folder.
type folderLock struct{ file *os.File }

// errCannotLock says that the file system has no locks.
var errCannotLock = errors.New("the file system has no locks")

// lockFolder locks an existing folder, or returns an error that names the process that
// holds its lock.
func lockFolder(dir string) (*folderLock, error) {
	path := filepath.Join(dir, LockFile)
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			return nil, fmt.Errorf("cannot lock the run folder: %w", err)
		}
		if err := flock(f, dir); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// The previous holder may have unlinked the file between the two calls. A lock on
		// an unlinked file excludes nobody.
		opened, err := f.Stat()
		named, nameErr := os.Stat(path)
		if err == nil && nameErr == nil && os.SameFile(opened, named) {
			return &folderLock{f}, signLock(f)
		}
		f.Close()
	}
}

func flock(f *os.File, dir string) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return &InUseError{dir, holder(f)}
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.EINVAL):
		return errCannotLock
	}
	return fmt.Errorf("cannot lock %s: %w", f.Name(), err)
}

// holder names the process that holds the lock on f.
func holder(f *os.File) string {
	text, _ := io.ReadAll(io.LimitReader(f, 300))
	if name := strings.TrimSpace(string(text)); name != "" {
		return "process " + name
	}
	return "another process"
}

func signLock(f *os.File) error {
	host, _ := os.Hostname()
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("cannot write %s: %w", f.Name(), err)
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%d on %s\n", os.Getpid(), host), 0); err != nil {
		return fmt.Errorf("cannot write %s: %w", f.Name(), err)
	}
	return nil
}

// release unlocks the folder. It removes the file before it releases the lock, so that it
// never removes another process's file.
func (l *folderLock) release() error {
	if l == nil {
		return nil
	}
	err := os.Remove(l.file.Name())
	if errors.Is(err, os.ErrNotExist) { // the run folder was removed
		err = nil
	}
	return errors.Join(err, l.file.Close())
}
