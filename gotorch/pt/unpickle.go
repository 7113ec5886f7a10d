package pt

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

// Limits of one pickle. A state_dict of 1,000 parameters takes 100 KiB and, by the
// count that maxPushes bounds, 30,000 pushes.
const (
	maxPickle = 64 << 20
	maxPushes = 4 << 20
)

// While a pickle runs, lists and tuples are behind pointers, so that they can be
// filled late and told apart; finish makes the exported types of them.
type (
	list   struct{ items []any }
	tuple  struct{ items []any }
	global string // an allowed one, such as "torch.FloatStorage"
)

// unpickler is Python's pickle machine, protocols 2 to 5, as far as torch.save
// makes use of it: a stack, marks in it, and a memo. After the first failure err
// stays, and every method returns a zero value at once.
type unpickler struct {
	in     *bufio.Reader
	pos    int64 // of the next byte, counted from the pickle's first
	limit  int64 // of pos
	opAt   int64 // pos of the running opcode
	pushes int
	stack  []any
	marks  []int
	memo   map[uint32]any
	done   bool
	err    error

	// persistent makes a storage of its persistent id.
	persistent func(id []any) (any, error)
}

// unpickle runs one pickle, which begins at r's first byte, and returns what it
// makes, not yet finished, and its length. At most size bytes are read from r.
func unpickle(r io.Reader, size int64, persistent func(id []any) (any, error)) (any, int64, error) {
	u := &unpickler{
		in:         bufio.NewReader(io.LimitReader(r, size)),
		limit:      min(size, maxPickle),
		memo:       map[uint32]any{},
		persistent: persistent,
	}
	for !u.done && u.err == nil {
		u.opAt = u.pos
		code := u.byte()
		if u.err != nil {
			break
		}
		run := opcodes[code]
		if run == nil {
			u.fail("opcode %#02x is not one that torch.save writes", code)
			break
		}
		run(u)
	}
	if u.err != nil {
		return nil, u.pos, u.err
	}
	return u.stack[0], u.pos, nil
}

// errTruncated is the end of the bytes in the midst of a pickle.
var errTruncated = errors.New("it ends in the midst of a pickle")

func (u *unpickler) fail(format string, args ...any) {
	if u.err == nil {
		u.err = fmt.Errorf("pickle, byte %d: %w", u.opAt, fmt.Errorf(format, args...))
	}
}

func (u *unpickler) take(n uint64) []byte {
	if u.err != nil {
		return nil
	}
	if n > uint64(u.limit-u.pos) {
		if u.limit == maxPickle {
			u.fail("it is longer than %d bytes", int64(maxPickle))
		} else {
			u.fail("%w", errTruncated)
		}
		return nil
	}
	b := make([]byte, n) // the limit, which is the file's, bounds n
	if _, err := io.ReadFull(u.in, b); err != nil {
		u.fail("%w", err)
		return nil
	}
	u.pos += int64(n)
	return b
}

func (u *unpickler) byte() byte {
	if u.err == nil && u.pos < u.limit {
		b, err := u.in.ReadByte()
		if err != nil {
			u.fail("%w", err)
		}
		u.pos++
		return b
	}
	u.take(1) // which says why it cannot
	return 0
}

func (u *unpickler) uint(bytes int) uint64 {
	var wide [8]byte
	copy(wide[:], u.take(uint64(bytes)))
	return binary.LittleEndian.Uint64(wide[:])
}

// line reads one line of a GLOBAL.
func (u *unpickler) line() string {
	var b []byte
	for u.err == nil {
		c := u.byte()
		if c == '\n' {
			return string(b)
		}
		if b = append(b, c); len(b) > 1000 {
			u.fail("a name of more than 1000 bytes")
		}
	}
	return ""
}

// charge counts what takes memory: places on the stack and in the memo, and marks.
func (u *unpickler) charge(n int) {
	if u.pushes += n; u.pushes > maxPushes {
		u.fail("it makes more than %d objects", maxPushes)
	}
}

func (u *unpickler) push(v any) {
	u.charge(1)
	u.stack = append(u.stack, v)
}

// bottom is the height below which the running opcode may not reach.
func (u *unpickler) bottom() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

// pop removes the n topmost values.
func (u *unpickler) pop(n int) []any {
	at := len(u.stack) - n
	if u.err == nil && at < u.bottom() {
		u.fail("the stack is empty")
	}
	if u.err != nil {
		return make([]any, n)
	}
	popped := u.stack[at:]
	u.stack = u.stack[:at]
	return popped
}

// popMark removes all values above the last mark, and the mark.
func (u *unpickler) popMark() []any {
	if len(u.marks) == 0 {
		u.fail("there is no mark")
		return nil
	}
	popped := u.pop(len(u.stack) - u.bottom())
	u.marks = u.marks[:len(u.marks)-1]
	return popped
}

func (u *unpickler) top() any {
	if len(u.stack) <= u.bottom() {
		u.fail("the stack is empty")
		return nil
	}
	return u.stack[len(u.stack)-1]
}

var opcodes = [256]func(*unpickler){
	0x80: func(u *unpickler) { // PROTO
		if version := u.byte(); u.err == nil && (version < 2 || version > 5) {
			u.fail("protocol %d is not supported, only 2 to 5", version)
		}
	},
	0x95: func(u *unpickler) { u.take(8) }, // FRAME: a hint for buffering
	'.':  (*unpickler).stop,                // STOP
	'(':  (*unpickler).mark,

	'N':  func(u *unpickler) { u.push(nil) },
	0x88: func(u *unpickler) { u.push(true) },
	0x89: func(u *unpickler) { u.push(false) },
	'K':  func(u *unpickler) { u.push(int64(u.byte())) },
	'M':  func(u *unpickler) { u.push(int64(u.uint(2))) },
	'J':  func(u *unpickler) { u.push(int64(int32(u.uint(4)))) },
	0x8a: func(u *unpickler) { u.long(u.uint(1)) },
	0x8b: func(u *unpickler) { u.long(u.uint(4)) },
	'G': func(u *unpickler) { // BINFLOAT, the one big-endian number
		var b [8]byte
		copy(b[:], u.take(8))
		u.push(math.Float64frombits(binary.BigEndian.Uint64(b[:])))
	},

	'X':  func(u *unpickler) { u.text(u.uint(4)) }, // BINUNICODE
	0x8c: func(u *unpickler) { u.text(u.uint(1)) },
	0x8d: func(u *unpickler) { u.text(u.uint(8)) },
	'U':  func(u *unpickler) { u.text(u.uint(1)) }, // SHORT_BINSTRING: Python 2's str
	'T':  func(u *unpickler) { u.text(u.uint(4)) },

	')':  func(u *unpickler) { u.push(&tuple{[]any{}}) },
	0x85: func(u *unpickler) { u.tuple(u.pop(1)) },
	0x86: func(u *unpickler) { u.tuple(u.pop(2)) },
	0x87: func(u *unpickler) { u.tuple(u.pop(3)) },
	't':  func(u *unpickler) { u.tuple(u.popMark()) },
	']':  func(u *unpickler) { u.push(&list{[]any{}}) },
	'a':  func(u *unpickler) { u.appendTo(u.pop(1)) },
	'e':  func(u *unpickler) { u.appendTo(u.popMark()) },
	'}':  func(u *unpickler) { u.push(&Dict{}) },
	's':  func(u *unpickler) { u.setItems(u.pop(2)) },
	'u':  func(u *unpickler) { u.setItems(u.popMark()) },

	'q':  func(u *unpickler) { u.put(uint32(u.uint(1))) },
	'r':  func(u *unpickler) { u.put(uint32(u.uint(4))) },
	0x94: func(u *unpickler) { u.put(uint32(len(u.memo))) }, // MEMOIZE
	'h':  func(u *unpickler) { u.get(uint32(u.uint(1))) },
	'j':  func(u *unpickler) { u.get(uint32(u.uint(4))) },

	'c': func(u *unpickler) { // GLOBAL
		module := u.line()
		u.global(module, u.line())
	},
	0x93: (*unpickler).stackGlobal,
	'R':  (*unpickler).reduce,
	'b':  (*unpickler).build,
	'Q':  (*unpickler).load, // BINPERSID
}

func (u *unpickler) mark() {
	u.charge(1)
	u.marks = append(u.marks, len(u.stack))
}

func (u *unpickler) stop() {
	if len(u.stack) != 1 || len(u.marks) != 0 {
		u.fail("it ends with %d objects on the stack and %d marks, not with one object", len(u.stack), len(u.marks))
	}
	u.done = true
}

// long is a little-endian two's complement integer of any length.
func (u *unpickler) long(length uint64) {
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

func (u *unpickler) text(length uint64) {
	b := u.take(length)
	if !utf8.Valid(b) {
		u.fail("a string that is not UTF-8")
	}
	u.push(string(b))
}

func (u *unpickler) tuple(items []any) {
	u.push(&tuple{append([]any{}, items...)})
}

func (u *unpickler) appendTo(items []any) {
	l, ok := u.top().(*list)
	if !ok {
		u.fail("it appends to a %s", TypeName(u.top()))
		return
	}
	l.items = append(l.items, items...)
}

func (u *unpickler) setItems(items []any) {
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

func (u *unpickler) setItem(d *Dict, key, value any) {
	if !isKey(key) {
		u.fail("a %s as a dict's key is not supported", TypeName(key))
		return
	}
	d.Set(key, value)
}

func (u *unpickler) put(i uint32) {
	u.charge(1)
	u.memo[i] = u.top()
}

func (u *unpickler) get(i uint32) {
	v, ok := u.memo[i]
	if !ok {
		u.fail("the memo has no entry %d", i)
	}
	u.push(v)
}

func (u *unpickler) stackGlobal() {
	names := u.pop(2)
	module, ok := names[0].(string)
	name, ok2 := names[1].(string)
	if !ok || !ok2 {
		u.fail("a global whose name is no string")
		return
	}
	u.global(module, name)
}

func (u *unpickler) global(module, name string) {
	full := module + "." + name
	if u.err == nil && !allowed(full) {
		u.fail("it asks for %s, which is not among the types that a checkpoint needs; nothing of it was executed", full)
	}
	u.push(global(full))
}

func (u *unpickler) reduce() {
	args, ok := u.pop(1)[0].(*tuple)
	function, ok2 := u.pop(1)[0].(global)
	if u.err != nil {
		return
	}
	if !ok || !ok2 {
		u.fail("a call that is not of a function with a tuple")
		return
	}
	v, err := call(function, args.items)
	if err != nil {
		u.fail("%s: %w", function, err)
		return
	}
	if d, ok := v.(*Dict); ok {
		u.charge(d.Len()) // a few bytes can ask for another copy of a long list of pairs
	}
	u.push(v)
}

// build sets an object's attributes. A state_dict has one, _metadata, the version
// of each module's parameters, which nothing here needs.
func (u *unpickler) build() {
	u.pop(1)
	if d, ok := u.top().(*Dict); u.err == nil && (!ok || !d.Ordered) {
		u.fail("it sets attributes of a %s", TypeName(u.top()))
	}
}

func (u *unpickler) load() {
	id, ok := u.pop(1)[0].(*tuple)
	if u.err != nil {
		return
	}
	if !ok {
		u.fail("a persistent id that is not a tuple")
		return
	}
	v, err := u.persistent(id.items)
	if err != nil {
		u.fail("%w", err)
		return
	}
	u.push(v)
}

// TypeName is the type in Python's words of a value that [ReadFile] has read.
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
	case *list, []any:
		return "list"
	case *tuple, Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *view, *Tensor:
		return "Tensor"
	case storageRef:
		return "storage"
	case global:
		return string(v)
	}
	return fmt.Sprintf("%T", v)
}
