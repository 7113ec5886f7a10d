// Package pickle reads Python's pickles, without Python.
//
// A pickle is a program that calls what it names. The machine that runs it here (machine.go,
// opcodes.go), of protocols 2 to 5, calls nothing by itself: what a pickle names, calls and
// fills in is asked of the functions of an [Unpickler], and is refused where there are none.
// It makes these values:
//
//	None, bool, int, float, str   nil, bool, int64, float64, string
//	list, tuple                   *List, *Tuple
//	dict                          *Dict
//	bytes                         string, or a Span where they are many
//
// A pickle, be it ever so malformed, takes memory of the order of its size and gives an
// error. The values may hold themselves, or one another many times: who walks them bounds
// his steps.
package pickle

import (
	"bufio"
	"fmt"
	"io"
)

// Lists and tuples are behind pointers, so that they can be filled late and told apart.
type (
	// List is a Python list.
	List struct{ Items []any }
	// Tuple is a Python tuple.
	Tuple struct{ Items []any }
	// Global is a class or a function that FindClass has allowed, as "module.name".
	Global string
)

// Span is a string of bytes that was left in the file.
type Span struct {
	Offset int64 // from the pickle's first byte
	Length int64
}

// Unpickler says what a pickle may ask for. The zero value takes plain values alone.
type Unpickler struct {
	// FindClass refuses a class or a function by an error; nil refuses all.
	FindClass func(name string) error

	// Call stands for a call of what FindClass has allowed.
	Call func(function Global, args []any) (any, error)

	// SetState stands for giving an object its attributes.
	SetState func(object, state any) error

	// PersistentLoad returns the object of a persistent id, a tuple.
	PersistentLoad func(id []any) (any, error)

	// LongBytes, if positive, has bytes taken, of which Python 2's str are some: as a
	// string, or from so many on as a Span. A reader that is an io.Seeker skips those.
	LongBytes int64
}

// Load runs the pickle that begins at r's first byte, and returns what it makes, and its
// length. At most size bytes are read from r.
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

// TypeName is the type in Python's words of a value that Load makes. Values of other
// kinds, which an Unpickler's functions have made, may name theirs by a method TypeName.
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
