// Package regularfile opens only regular files for reading: a pipe without a writer blocks
// its reader forever, signals included, and a device may never end.
package regularfile

import (
	"io"
	"io/fs"
	"os"
)

// Error reports a path that is not a regular file.
type Error struct {
	Path string
	Kind string // what it is: "a folder", "a pipe", ...
}

// Error returns the path and its kind.
func (e *Error) Error() string { return e.Path + " is " + e.Kind + ", not a file" }

// Check returns an *Error if path is not a regular file, or the operating system's error if
// it cannot be accessed. It follows links.
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

// Open opens a regular file for reading. It returns the errors of Check.
func Open(path string) (*os.File, error) {
	if err := Check(path); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// Read reads a whole regular file. It returns the errors of Check and of reading.
func Read(path string) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// kindOf describes a file that is not regular; it returns "" for a regular one.
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
