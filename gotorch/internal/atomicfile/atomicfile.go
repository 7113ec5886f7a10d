// Package atomicfile writes files that are either whole or not there.
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

// Write replaces the file at path by what fill writes: into a temporary file
// beside it, flushed to the disk, renamed over path, and the rename itself made
// durable by syncing the folder. After an error, or a crash at any moment, path
// holds what it held before; after an error no temporary file stays either.
//
// The only error that can come after path has its new content is a failing sync
// of the folder: the file is whole then, but a power cut may still undo it.
func Write(path string, fill func(io.Writer) error) error {
	return write(path, fill, (*os.File).Sync)
}

// write is Write with the disk's sync as an argument, which tests make fail.
func write(path string, fill func(io.Writer) error, sync func(*os.File) error) error {
	// The folder is named because renameio would otherwise try $TMPDIR first,
	// which may be a small memory disk, too small for a checkpoint.
	dir := filepath.Dir(path)
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup() // after a success it does nothing
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
	// Some network file systems cannot sync a folder; they have no journal that
	// the rename could be missing from either.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
