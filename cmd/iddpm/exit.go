package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"iddpm/distributed"
	"iddpm/internal/cli"
	"iddpm/train"
)

// The exit statuses.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitSaved       = 75  // interrupted; the finished work is saved (EX_TEMPFAIL)
	exitInterrupted = 130 // interrupted; nothing is saved
)

// errSavedInPart says that a command was interrupted after some of the images.
var errSavedInPart = errors.New("interrupted; the images done so far are saved")

func exitStatus(err error) int {
	var launched launchedError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &launched):
		return launched.status
	case cli.IsUsage(err):
		return exitUsage
	case errors.Is(err, train.ErrInterrupted), errors.Is(err, errSavedInPart):
		return exitSaved
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}

// saidElsewhere reports whether rank 0 or the launcher reports this error.
func saidElsewhere(err error) bool {
	var launched launchedError
	var synced *distributed.Error
	status := exitStatus(err)
	return errors.As(err, &launched) || errors.As(err, &synced) && synced.Elsewhere() || status == exitSaved || status == exitInterrupted
}

// causes returns the prefix and the text of an interrupt's error without "context
// canceled"; "" if no text is left.
func causes(prefix string, err error) string {
	var left []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line = strings.TrimSuffix(strings.TrimSuffix(line, context.Canceled.Error()), ": "); line != "" {
			left = append(left, line)
		}
	}
	if len(left) == 0 {
		return ""
	}
	return prefix + strings.Join(left, "\n")
}

// launchedError is the status of a process that has reported its error itself.
type launchedError struct{ status int }

func (e launchedError) Error() string { return fmt.Sprintf("exit status %d", e.status) }
