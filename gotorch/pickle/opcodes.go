package pickle

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

var opcodes = [256]func(*machine){
	0x80: func(u *machine) { // PROTO
		if version := u.byte(); u.err == nil && (version < 2 || version > 5) {
			u.fail("protocol %d is not supported, only 2 to 5", version)
		}
	},
	0x95: func(u *machine) { u.read(8) }, // FRAME: a hint for buffering
	'.':  (*machine).stop,                // STOP
	'(':  (*machine).mark,

	'N':  func(u *machine) { u.push(nil) },
	0x88: func(u *machine) { u.push(true) },
	0x89: func(u *machine) { u.push(false) },
	'K':  func(u *machine) { u.push(int64(u.byte())) },
	'M':  func(u *machine) { u.push(int64(u.uint(2))) },
	'J':  func(u *machine) { u.push(int64(int32(u.uint(4)))) },
	0x8a: func(u *machine) { u.long(u.uint(1)) },
	0x8b: func(u *machine) { u.long(u.uint(4)) },
	'G': func(u *machine) { // BINFLOAT, the one big-endian number
		var b [8]byte
		copy(b[:], u.read(8))
		u.push(math.Float64frombits(binary.BigEndian.Uint64(b[:])))
	},

	'X':  func(u *machine) { u.text(u.uint(4)) }, // BINUNICODE
	0x8c: func(u *machine) { u.text(u.uint(1)) },
	0x8d: func(u *machine) { u.text(u.uint(8)) },
	'U':  func(u *machine) { u.python2(u.uint(1)) }, // SHORT_BINSTRING
	'T':  func(u *machine) { u.python2(u.uint(4)) },
	'C':  func(u *machine) { u.bytes(u.uint(1)) }, // SHORT_BINBYTES
	'B':  func(u *machine) { u.bytes(u.uint(4)) },
	0x8e: func(u *machine) { u.bytes(u.uint(8)) },
	0x96: func(u *machine) { u.bytes(u.uint(8)) }, // BYTEARRAY8

	')':  func(u *machine) { u.push(&Tuple{[]any{}}) },
	0x85: func(u *machine) { u.tuple(u.pop(1)) },
	0x86: func(u *machine) { u.tuple(u.pop(2)) },
	0x87: func(u *machine) { u.tuple(u.pop(3)) },
	't':  func(u *machine) { u.tuple(u.popMark()) },
	']':  func(u *machine) { u.push(&List{[]any{}}) },
	'a':  func(u *machine) { u.appendTo(u.pop(1)) },
	'e':  func(u *machine) { u.appendTo(u.popMark()) },
	'}':  func(u *machine) { u.push(&Dict{}) },
	's':  func(u *machine) { u.setItems(u.pop(2)) },
	'u':  func(u *machine) { u.setItems(u.popMark()) },

	'q':  func(u *machine) { u.put(uint32(u.uint(1))) },
	'r':  func(u *machine) { u.put(uint32(u.uint(4))) },
	0x94: func(u *machine) { u.put(uint32(len(u.memo))) }, // MEMOIZE
	'h':  func(u *machine) { u.get(uint32(u.uint(1))) },
	'j':  func(u *machine) { u.get(uint32(u.uint(4))) },

	'c': func(u *machine) { // GLOBAL
		module := u.line()
		u.global(module, u.line())
	},
	0x93: (*machine).stackGlobal,
	'R':  (*machine).reduce,
	'b':  (*machine).build,
	'Q':  (*machine).persistent, // BINPERSID
}

func (u *machine) mark() {
	u.charge(1)
	u.marks = append(u.marks, len(u.stack))
}

func (u *machine) stop() {
	if len(u.stack) != 1 || len(u.marks) != 0 {
		u.fail("it ends with %d objects on the stack and %d marks, not with one object", len(u.stack), len(u.marks))
	}
	u.done = true
}

// long is a little-endian two's complement integer of any length.
func (u *machine) long(length uint64) {
	if length > 8 {
		u.fail("an integer of %d bytes does not fit 64 bits", length)
		return
	}
	v := u.uint(int(length))
	unused := 64 - 8*length
	if length == 0 {
		u.push(int64(0))
		return
	}
	u.push(int64(v<<unused) >> unused)
}

func (u *machine) text(length uint64) {
	b := u.read(length)
	if !utf8.Valid(b) {
		u.fail("a string that is not UTF-8")
	}
	u.push(string(b))
}

// python2 pushes a str of Python 2: bytes, interpreted as text unless bytes are allowed.
func (u *machine) python2(length uint64) {
	if u.LongBytes > 0 {
		u.bytes(length)
		return
	}
	u.text(length)
}

func (u *machine) bytes(length uint64) {
	switch {
	case u.LongBytes <= 0:
		u.fail("strings of bytes are not supported")
	case length < uint64(u.LongBytes):
		u.push(string(u.read(length)))
	default:
		u.push(u.skip(length))
	}
}

func (u *machine) tuple(items []any) {
	u.push(&Tuple{append([]any{}, items...)})
}

func (u *machine) appendTo(items []any) {
	l, ok := u.top().(*List)
	if !ok {
		u.fail("it appends to a %s", TypeName(u.top()))
		return
	}
	l.Items = append(l.Items, items...)
}

func (u *machine) setItems(items []any) {
	d, ok := u.top().(*Dict)
	if !ok {
		u.fail("it sets an item of a %s", TypeName(u.top()))
		return
	}
	if len(items)%2 != 0 {
		u.fail("a dict's key without a value")
		return
	}
	for i := 0; i < len(items) && u.err == nil; i += 2 {
		u.setItem(d, items[i], items[i+1])
	}
}

func (u *machine) setItem(d *Dict, key, value any) {
	if !IsKey(key) {
		u.fail("a %s as a dict's key is not supported", TypeName(key))
		return
	}
	d.Set(key, value)
}

func (u *machine) put(i uint32) {
	u.charge(1)
	u.memo[i] = u.top()
}

func (u *machine) get(i uint32) {
	v, ok := u.memo[i]
	if !ok {
		u.fail("the memo has no entry %d", i)
	}
	u.push(v)
}

func (u *machine) stackGlobal() {
	names := u.pop(2)
	module, ok := names[0].(string)
	name, ok2 := names[1].(string)
	if !ok || !ok2 {
		u.fail("a global whose name is no string")
		return
	}
	u.global(module, name)
}

func (u *machine) global(module, name string) {
	full := module + "." + name
	switch {
	case u.err != nil:
	case u.FindClass == nil:
		u.fail("it refers to %s", full)
	default:
		if err := u.FindClass(full); err != nil {
			u.fail("%w", err)
		}
	}
	u.push(Global(full))
}

func (u *machine) reduce() {
	args, ok := u.pop(1)[0].(*Tuple)
	function, ok2 := u.pop(1)[0].(Global)
	if u.err != nil {
		return
	}
	if !ok || !ok2 {
		u.fail("a call that is not of a function with a tuple")
		return
	}
	if u.Call == nil {
		u.fail("%s cannot be called", function)
		return
	}
	v, err := u.Call(function, args.Items)
	if err != nil {
		u.fail("%s: %w", function, err)
		return
	}
	if d, ok := v.(*Dict); ok {
		u.charge(d.Len()) // a few bytes can copy a long list of pairs again
	}
	u.push(v)
}

func (u *machine) build() {
	state := u.pop(1)[0]
	object := u.top()
	switch {
	case u.err != nil:
	case u.SetState == nil:
		u.fail("it sets attributes of a %s", TypeName(object))
	default:
		if err := u.SetState(object, state); err != nil {
			u.fail("%w", err)
		}
	}
}

func (u *machine) persistent() {
	id, ok := u.pop(1)[0].(*Tuple)
	if u.err != nil {
		return
	}
	if !ok {
		u.fail("a persistent id that is not a tuple")
		return
	}
	if u.PersistentLoad == nil {
		u.fail("it refers to a persistent object, which is not supported")
		return
	}
	v, err := u.PersistentLoad(id.Items)
	if err != nil {
		u.fail("%w", err)
		return
	}
	u.push(v)
}
