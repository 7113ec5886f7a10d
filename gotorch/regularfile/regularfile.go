// Package regularfile opens files to read and nothing else: a pipe without a writer would
// hold its reader for ever, whatever signals come, and a device may never end.
package regularfile

import (
	"io"
	"io/fs"
	"os"
)

// Error says that a path names no regular file.
type Error struct {
	Path string
	Kind string // what it names: "a folder", "a pipe", ...
}

// Error names the path and what is there.
func (e *Error) Error() string { return e.Path + " is " + e.Kind + ", not a file" }

// Check returns an *Error where path names something else than a regular file, and the
// operating system's error where it names nothing that can be looked at. Links are
// followed.
func Check(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if kind := kindOf(info.Mode()); kind != "" {
		return &Error{Path: path, Kind: kind}
	}
	return nil
}

// Open opens a regular file to read. The errors are Check's.
func Open(path string) (*os.File, error) {
	if err := Check(path); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// Read reads a whole regular file. The errors are Check's, and those of reading.
func Read(path string) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// kindOf describes what is no regular file; empty for one.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return ""
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "of an unknown kind"
}
