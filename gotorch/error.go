package gotorch

// #include <stdlib.h>
// #include "iddpm.h"
import "C"

import (
	"fmt"
	"strings"
)

// Error is what an operator panics with when libtorch refuses it.
type Error struct {
	Op          string // the gotorch function
	Message     string // libtorch's message, without its C++ stack
	OutOfMemory bool   // whether it is for want of memory
}

func (e *Error) Error() string { return fmt.Sprintf("gotorch: %s: %s", e.Op, e.Message) }

// Try runs f and returns the [*Error] that an operator in it panicked with, or
// nil. Any other panic goes on.
func Try(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Error:
			err = r
		default:
			panic(r)
		}
	}()
	f()
	return nil
}

// check panics with the message of a gt_error, if there is one.
func check(op string, e C.gt_error) {
	if e == nil {
		return
	}
	message := errorString(e)
	// libtorch says on which line of its own it asked, and then this.
	_, bytes, onCPU := strings.Cut(message, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ")
	if onCPU {
		bytes, _, _ = strings.Cut(bytes, ". ")
		message = "out of memory: " + bytes + " are not to be had"
	}
	cause, outOfMemory := memoryCause(message)
	panic(&Error{Op: op, Message: cause + message, OutOfMemory: outOfMemory})
}

// memoryCause reports whether a message of libtorch's or of NVIDIA's libraries is for
// want of memory, and returns what to say before one that does not say so.
func memoryCause(message string) (cause string, outOfMemory bool) {
	contains := func(part string) bool { return strings.Contains(message, part) }
	switch {
	case contains("out of memory"):
		return "", true
	case contains("_ALLOC_FAILED"), contains("_ALLOCATION_FAILED"):
		return "out of memory: ", true
	case contains("unable to find an engine to execute this computation"):
		// libtorch passes over each of cuDNN's plans whose workspace does not fit.
		return "out of memory, most likely: ", true
	}
	return "", false
}

// errorString takes the message out of a gt_error and frees it.
func errorString(e C.gt_error) string {
	defer C.gt_error_free(e)
	return C.GoString(e)
}
