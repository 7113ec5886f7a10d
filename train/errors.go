package train

import (
	"errors"
	"fmt"
	"path/filepath"

	"iddpm/checkpoint"
)

// errDiverged says that too many consecutive steps were skipped.
var errDiverged = errors.New("the loss or the gradient is not finite")

// RunExistsError is the error of a new run in a folder that already holds one.
type RunExistsError struct{ Dir string }

func (e *RunExistsError) Error() string { return e.Dir + " already holds a run" }

// InUseError is the error of a run folder in which a process trains.
type InUseError struct {
	Dir    string
	Holder string // the process, such as "process 12 on host"
}

func (e *InUseError) Error() string { return e.Dir + " is in use by " + e.Holder }

// PastEndError is the error of a run that is resumed to end before the step of its checkpoint.
type PastEndError struct {
	Path      string // of the checkpoint
	Step, End int
}

func (e *PastEndError) Error() string {
	return fmt.Sprintf("%s: is at step %d, so the run cannot end at step %d", e.Path, e.Step, e.End)
}

// ClassCountError is the error of images with more classes than the network has.
type ClassCountError struct {
	Data           string // name of the set
	Found, Network int
}

func (e *ClassCountError) Error() string {
	return fmt.Sprintf("%s has %d classes, but the network only %d", e.Data, e.Found, e.Network)
}

// InitError is the error of a checkpoint from which a new run cannot take its weights.
type InitError struct {
	Path string
	Err  error // a [model.StateDictError] if the networks differ
}

func (e *InitError) Error() string {
	return fmt.Sprintf("the initial weights of %s: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *InitError) Unwrap() error { return e.Err }

// MovedError is the error of a resumed run whose images are no longer where they were.
type MovedError struct {
	Setting string // that names the images: "data-dir" or "eval-data"
	Err     error
}

func (e *MovedError) Error() string {
	return fmt.Sprintf("%v: the run was started with these images", e.Err)
}

// Unwrap returns the cause.
func (e *MovedError) Unwrap() error { return e.Err }

// DivergedError is the error of a run whose loss or gradients were not finite in too many
// consecutive steps, even after a rollback.
type DivergedError struct {
	RunDir string
	Steps  int    // consecutive
	Step   int    // the last of them
	Where  string // the first non-finite layer in the last batch
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("%v in %d consecutive steps up to step %d, even after rolling back once: %s", errDiverged, e.Steps, e.Step, e.Where)
}

// Is reports that the run has diverged.
func (e *DivergedError) Is(target error) bool { return target == errDiverged }

// Checkpoints returns the folder of the checkpoints, older ones of which may be sound.
func (e *DivergedError) Checkpoints() string { return filepath.Join(e.RunDir, checkpoint.Dir) }
