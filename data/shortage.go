package data

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ShortageError says that an image could not be read because of a system limit, not
// because of the image.
type ShortageError struct {
	Where string // the data set
	Err   error
}

// Error names the cause and the cure.
func (e *ShortageError) Error() string { return fmt.Sprintf("%s: %v", e.Where, explained(e.Err)) }

// Unwrap returns the cause.
func (e *ShortageError) Unwrap() error { return e.Err }

// isShortage reports whether the system lacks resources to open any file.
func isShortage(err error) bool {
	return err != nil && (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM))
}

// explained adds a hint to a shortage.
func explained(err error) error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return fmt.Errorf("%w: the images are fine; raise the limit on open files (ulimit -n)", err)
	}
	return err
}

// cause drops the path from a file error, for messages that name it already.
func cause(err error) error {
	if err == nil { // as for nearly every image: errors.As would take memory for it
		return nil
	}
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
