package gotorch

// #include <stdlib.h>
// #include "iddpm.h"
import "C"

import (
	"fmt"
	"strings"
)

// Error is the panic value of an operator that fails.
type Error struct {
	Op          string // the gotorch function
	Message     string // libtorch's message, without the C++ stack trace
	OutOfMemory bool   // an allocation failed, on the host or a GPU
}

func (e *Error) Error() string { return fmt.Sprintf("gotorch: %s: %s", e.Op, e.Message) }

// Try runs f and returns the [*Error] that an operator in it panicked with, or
// nil. Any other panic is not recovered.
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
	// libtorch's message starts with its own source line, then says this.
	_, bytes, onCPU := strings.Cut(message, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ")
	if onCPU {
		bytes, _, _ = strings.Cut(bytes, ". ")
		message = "out of memory: failed to allocate " + bytes
	}
	cause, outOfMemory := memoryCause(message)
	panic(&Error{Op: op, Message: cause + message, OutOfMemory: outOfMemory})
}

// memoryCause reports whether a message of libtorch or of NVIDIA's libraries means that an
// allocation failed, and returns a prefix for a message that does not say so.
func memoryCause(message string) (cause string, outOfMemory bool) {
	contains := func(part string) bool { return strings.Contains(message, part) }
	switch {
	case contains("out of memory"):
		return "", true
	case contains("_ALLOC_FAILED"), contains("_ALLOCATION_FAILED"):
		return "out of memory: ", true
	case contains("unable to find an engine to execute this computation"):
		// libtorch skips each cuDNN plan whose workspace cannot be allocated.
		return "out of memory, most likely: ", true
	}
	return "", false
}

// errorString returns the message of a gt_error and frees it.
func errorString(e C.gt_error) string {
	defer C.gt_error_free(e)
	return C.GoString(e)
}
