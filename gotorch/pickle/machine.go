package pickle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits of one pickle. A state_dict of 1,000 parameters has 100 KiB and 30,000 of the
// objects that maxPushes counts.
const (
	MaxLength = 64 << 20 // bytes of a pickle, without Spans
	maxPushes = 4 << 20
)

// machine runs one pickle: a stack, marks in it, and a memo. After the first failure err
// is kept, and every method returns a zero value at once.
type machine struct {
	Unpickler
	file   io.Reader
	in     *bufio.Reader // of file
	pos    int64         // of the next byte, counted from the pickle's first
	size   int64         // maximum of pos
	budget int64         // bytes that may still be read
	opAt   int64         // pos of the running opcode
	pushes int
	stack  []any
	marks  []int
	memo   map[uint32]any
	done   bool
	err    error
}

func (u *machine) run() {
	for !u.done && u.err == nil {
		u.opAt = u.pos
		code := u.byte()
		if u.err != nil {
			return
		}
		run := opcodes[code]
		if run == nil {
			u.fail("opcode %#02x is not supported", code)
			return
		}
		run(u)
	}
}

// ErrTruncated reports that the data ends within a pickle.
var ErrTruncated = errors.New("it ends within a pickle")

func (u *machine) fail(format string, args ...any) {
	if u.err == nil {
		u.err = fmt.Errorf("pickle, byte %d: %w", u.opAt, fmt.Errorf(format, args...))
	}
}

// read reads n bytes.
func (u *machine) read(n uint64) []byte {
	switch {
	case u.err != nil:
		return nil
	case n > uint64(u.size-u.pos):
		u.fail("%w", ErrTruncated)
		return nil
	case n > uint64(u.budget):
		u.fail("it is longer than %d bytes", int64(MaxLength))
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(u.in, b); err != nil {
		u.fail("%w", err)
		return nil
	}
	u.pos += int64(n)
	u.budget -= int64(n)
	return b
}

// skip leaves n bytes in the file.
func (u *machine) skip(n uint64) Span {
	if u.err == nil && n > uint64(u.size-u.pos) {
		u.fail("%w", ErrTruncated)
	}
	if u.err != nil {
		return Span{}
	}
	span := Span{Offset: u.pos, Length: int64(n)}
	u.pos += span.Length
	if err := u.seek(span.Length); err != nil {
		u.fail("%w", err)
	}
	return span
}

func (u *machine) seek(n int64) error {
	ahead := int64(u.in.Buffered())
	file, ok := u.file.(io.Seeker)
	if n <= ahead || !ok {
		_, err := io.CopyN(io.Discard, u.in, n)
		return err
	}
	if _, err := file.Seek(n-ahead, io.SeekCurrent); err != nil {
		return err
	}
	u.in.Reset(io.LimitReader(u.file, u.size-u.pos))
	return nil
}

func (u *machine) byte() byte {
	if u.err == nil && u.pos < u.size && u.budget > 0 {
		b, err := u.in.ReadByte()
		if err != nil {
			u.fail("%w", err)
		}
		u.pos++
		u.budget--
		return b
	}
	u.read(1) // sets the error
	return 0
}

func (u *machine) uint(bytes int) uint64 {
	var wide [8]byte
	copy(wide[:], u.read(uint64(bytes)))
	return binary.LittleEndian.Uint64(wide[:])
}

// line reads one line of a GLOBAL.
func (u *machine) line() string {
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

// charge counts objects that need memory: entries of the stack and the memo, and marks.
func (u *machine) charge(n int) {
	if u.pushes += n; u.pushes > maxPushes {
		u.fail("it makes more than %d objects", maxPushes)
	}
}

func (u *machine) push(v any) {
	u.charge(1)
	u.stack = append(u.stack, v)
}

// bottom is the height of the stack below which the running opcode may not read.
func (u *machine) bottom() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

// pop removes the n topmost values.
func (u *machine) pop(n int) []any {
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
func (u *machine) popMark() []any {
	if len(u.marks) == 0 {
		u.fail("there is no mark")
		return nil
	}
	popped := u.pop(len(u.stack) - u.bottom())
	u.marks = u.marks[:len(u.marks)-1]
	return popped
}

func (u *machine) top() any {
	if len(u.stack) <= u.bottom() {
		u.fail("the stack is empty")
		return nil
	}
	return u.stack[len(u.stack)-1]
}
