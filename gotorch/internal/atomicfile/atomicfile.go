// Package atomicfile replaces files atomically.
package atomicfile

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// Write replaces the content of the file at path by what fill writes. It writes to a
// temporary file in the same folder, syncs it to the disk, renames it to path, and
// syncs the folder. After an error or a crash path has its old content; after an
// error the temporary file is removed.
//
// The only error that can occur after the rename is a failing sync of the folder: path
// has its new content then, but a power failure may still undo the rename.
func Write(path string, fill func(io.Writer) error) error {
	return write(path, fill, (*os.File).Sync)
}

// write is Write with the sync function as an argument, for tests.
func write(path string, fill func(io.Writer) error, sync func(*os.File) error) error {
	// Set the folder: renameio would otherwise try $TMPDIR first, which may be a
	// memory disk too small for a checkpoint.
	dir := filepath.Dir(path)
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup() // no effect after a success
	buffered := bufio.NewWriterSize(f, 1<<16)
	if err := fill(buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if err := sync(f.File); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return syncDir(dir, sync)
}

func syncDir(dir string, sync func(*os.File) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = sync(d)
	// Some network file systems cannot sync a folder; they have no journal in which
	// the rename could be missing.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
