package inference

import (
	"errors"
	"fmt"
)

// ErrNeedsImages is the error of [Model.Sample] and [Model.Interpolate] for a super-resolution
// network: it needs low-resolution images, see [Model.Upsample].
var ErrNeedsImages = errors.New("a super-resolution network needs low-resolution images")

// ErrNotSuperRes is the error of [Model.Upsample] for a network without low-resolution input.
var ErrNotSuperRes = errors.New("the network is no super-resolution network")

// ErrNeedsClasses is the error of [Model.Invert] for a class-conditional network where the
// classes of the images are not given.
var ErrNeedsClasses = errors.New("the classes of the images must be given")

// OptionError is an invalid option. Its text begins with the option's name.
type OptionError struct {
	Option string // name of the option, in lower case: "precision"
	Err    error
}

func (e *OptionError) Error() string { return e.Err.Error() }

func (e *OptionError) Unwrap() error { return e.Err }

// NonFiniteError says that a result of the network is NaN or infinite.
type NonFiniteError struct {
	What        string // "samples" or "bound"
	First, Last int    // indices of the images of the batch
}

func (e *NonFiniteError) Error() string {
	verb := "are"
	if e.What == "bound" {
		verb = "is"
	}
	return fmt.Sprintf("the network's %s %s NaN or infinite, in images %d to %d", e.What, verb, e.First, e.Last)
}

// SizeError says that images or latents do not fit the network.
type SizeError struct {
	What      string // such as "low-resolution images"
	Got, Want int    // pixels a side
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("the %s are %d pixels wide, and the network needs %d", e.What, e.Got, e.Want)
}

// ClassError says that a label is not one of the network's classes.
type ClassError struct {
	Label      int64
	NumClasses int
}

func (e *ClassError) Error() string {
	return fmt.Sprintf("class %d is not one of the network's classes, 0 to %d", e.Label, e.NumClasses-1)
}
