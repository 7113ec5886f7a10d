package gotorch

// #include <stdlib.h>
// #include "iddpm.h"
import "C"

import "fmt"

// Error is what an operator panics with when libtorch refuses it.
type Error struct {
	Op      string // the gotorch function
	Message string // libtorch's message, without its C++ stack
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
	if e != nil {
		panic(&Error{Op: op, Message: errorString(e)})
	}
}

// errorString takes the message out of a gt_error and frees it.
func errorString(e C.gt_error) string {
	defer C.gt_error_free(e)
	return C.GoString(e)
}
