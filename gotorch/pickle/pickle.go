// Package pickle reads Python's pickles, without Python.
//
// A pickle is a program that calls functions by name. The machine that runs it here
// (machine.go, opcodes.go; protocols 2 to 5) calls nothing by itself: the functions of an
// [Unpickler] resolve names, calls and attributes; without them these are errors. Load
// makes these values:
//
//	None, bool, int, float, str   nil, bool, int64, float64, string
//	list, tuple                   *List, *Tuple
//	dict                          *Dict
//	bytes                         string, or a Span if they are many
//
// A malformed pickle gives an error and needs memory of the order of its size. The values
// may contain themselves, or one another many times: code that walks them must bound its
// steps.
package pickle

import (
	"bufio"
	"fmt"
	"io"
)

// Lists and tuples are pointers, so that they can be filled later and have an identity.
type (
	// List is a Python list.
	List struct{ Items []any }
	// Tuple is a Python tuple.
	Tuple struct{ Items []any }
	// Global is a class or function that FindClass has allowed, as "module.name".
	Global string
)

// Span is a byte string that Load left in the file.
type Span struct {
	Offset int64 // from the pickle's first byte
	Length int64
}

// Unpickler configures what a pickle may do. The zero value allows only plain values.
type Unpickler struct {
	// FindClass rejects a class or function by an error; nil rejects all.
	FindClass func(name string) error

	// Call implements calls of what FindClass has allowed.
	Call func(function Global, args []any) (any, error)

	// SetState implements setting an object's attributes.
	SetState func(object, state any) error

	// PersistentLoad returns the object of a persistent id, a tuple.
	PersistentLoad func(id []any) (any, error)

	// LongBytes, if positive, allows bytes (including Python 2's str): as a string, or
	// from this length on as a Span. A reader that is an io.Seeker skips Spans.
	LongBytes int64
}

// Load runs the pickle that begins at r's first byte, and returns its value and its length.
// It reads at most size bytes from r.
func (o Unpickler) Load(r io.Reader, size int64) (v any, n int64, err error) {
	u := &machine{
		Unpickler: o, file: r, in: bufio.NewReader(io.LimitReader(r, size)),
		size: size, budget: MaxLength, memo: map[uint32]any{},
	}
	if u.run(); u.err != nil {
		return nil, u.pos, u.err
	}
	return u.stack[0], u.pos, nil
}

// TypeName returns Python's name of the type of a value that Load makes. Values that an
// Unpickler's functions make can define it by a method TypeName.
func TypeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case Span:
		return "bytes"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case Global:
		return string(v)
	case interface{ TypeName() string }:
		return v.TypeName()
	}
	return fmt.Sprintf("%T", v)
}
