package data

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"iddpm/data/imaging"
)

// CIFAR and the down-sampled ImageNet come as Python pickles of one dictionary
// that holds a NumPy array of pixels and a list of labels. unpickle reads those
// and no others: it calls nothing, knows a few names of NumPy, refuses the
// rest, and leaves long byte strings in the file, since an ImageNet batch is
// larger than what one wants in memory. That last point is why no library for
// pickles is used.

// The values are int64, float64, bool, nil, string (Python's str and short bytes), span,
// *list, tuple, *dict, global, *dtype and *ndarray.
type (
	list   struct{ items []any }
	tuple  []any
	dict   struct{ items map[string]any }
	global string // module.name
	dtype  struct{ code string }
	mark   struct{}

	// span is a byte string left where it lies in the file.
	span struct{ offset, n int64 }

	ndarray struct {
		shape []int64
		dtype string // as "u1"
		data  span
	}
)

// longString is from how many bytes on a string is left in the file: fewer than
// the smallest picture has, more than any name.
const longString = 128

// unpickler is the state of Python's pickle machine.
type unpickler struct {
	file  *io.SectionReader
	in    *bufio.Reader
	at    int64 // of the next byte
	stack []any
	memo  map[uint32]any
}

// unpickle reads the dictionary in the first size bytes of r.
func unpickle(r io.ReaderAt, size int64) (map[string]any, error) {
	u := &unpickler{file: io.NewSectionReader(r, 0, size), memo: map[uint32]any{}}
	u.in = bufio.NewReaderSize(u.file, 1<<16)
	for {
		op, err := u.byte()
		if err != nil {
			return nil, fmt.Errorf("not a readable pickle: %w", imaging.EndsEarly(err))
		}
		if op == '.' {
			break
		}
		if err := u.do(op); err != nil {
			return nil, fmt.Errorf("not a readable pickle: at byte %d: %w", u.at, imaging.EndsEarly(err))
		}
	}
	top, err := pop[*dict](u)
	if err != nil {
		return nil, fmt.Errorf("the pickle does not hold a dictionary")
	}
	return top.items, nil
}

// do carries out one opcode.
func (u *unpickler) do(op byte) error {
	if done, err := u.doConstant(op); done || err != nil {
		return err
	}
	if done, err := u.doMemo(op); done || err != nil {
		return err
	}
	switch op {
	case 0x80: // PROTO
		_, err := u.byte()
		return err
	case 0x95: // FRAME
		_, err := u.bytes(8)
		return err
	case '(':
		u.push(mark{})
	case 'e', 'a':
		return u.appendItems(op == 'e')
	case 'u', 's':
		return u.setItems(op == 'u')
	case 't':
		items, err := u.popMark()
		u.push(tuple(items))
		return err
	case 0x85, 0x86, 0x87:
		return u.tuple(int(op) - 0x84)
	case 'c':
		return u.global()
	case 0x93: // STACK_GLOBAL
		name, err1 := pop[string](u)
		module, err2 := pop[string](u)
		u.push(global(module + "." + name))
		return errors.Join(err1, err2)
	case 'R':
		return u.reduce()
	case 'b':
		return u.build()
	default:
		return fmt.Errorf("opcode %#x does not occur in the files this reads", op)
	}
	return nil
}

// doConstant carries out the opcodes that push a value.
func (u *unpickler) doConstant(op byte) (done bool, err error) {
	var v any
	switch op {
	case 'N':
	case 0x88, 0x89:
		v = op == 0x88
	case '}':
		v = &dict{items: map[string]any{}}
	case ']':
		v = &list{}
	case ')':
		v = tuple{}
	case 'K', 'M', 'J', 0x8a: // 1, 2, 4 bytes, counted
		v, err = u.integer(op)
	case 'G':
		b, e := u.bytes(8)
		err = e
		v = math.Float64frombits(binary.BigEndian.Uint64(pad8(b)))
	case 'U', 'C', 0x8c: // a byte of length
		v, err = u.string(1)
	case 'T', 'B', 'X':
		v, err = u.string(4)
	case 0x8e, 0x8d, 0x96:
		v, err = u.string(8)
	default:
		return false, nil
	}
	u.push(v)
	return true, err
}

// doMemo carries out the opcodes that store and fetch values.
func (u *unpickler) doMemo(op byte) (done bool, err error) {
	width := map[byte]int{'q': 1, 'r': 4, 'h': 1, 'j': 4, 0x94: 0}
	n, ok := width[op]
	if !ok {
		return false, nil
	}
	b, err := u.bytes(n)
	if err != nil {
		return true, err
	}
	key := uint32(binary.LittleEndian.Uint64(pad8(b)))
	if op == 'h' || op == 'j' {
		v, ok := u.memo[key]
		if !ok {
			return true, fmt.Errorf("memo %d is not set", key)
		}
		u.push(v)
		return true, nil
	}
	if len(u.stack) == 0 {
		return true, errUnderflow
	}
	if op == 0x94 { // MEMOIZE numbers as it goes
		key = uint32(len(u.memo))
	}
	u.memo[key] = u.stack[len(u.stack)-1]
	return true, nil
}

func (u *unpickler) byte() (byte, error) {
	b, err := u.in.ReadByte()
	if err == nil {
		u.at++
	}
	return b, err
}

// bytes reads n bytes, few.
func (u *unpickler) bytes(n int) ([]byte, error) {
	b := make([]byte, n)
	k, err := io.ReadFull(u.in, b)
	u.at += int64(k)
	return b, err
}

// pad8 makes eight bytes of up to eight, little-endian.
func pad8(b []byte) []byte { return append(b[:len(b):len(b)], make([]byte, 8-len(b))...) }

func (u *unpickler) integer(op byte) (int64, error) {
	n := map[byte]int{'K': 1, 'M': 2, 'J': 4}[op]
	if op == 0x8a {
		b, err := u.byte()
		if n = int(b); err != nil || n > 8 {
			return 0, errors.Join(err, fmt.Errorf("an integer of %d bytes", n))
		}
	}
	b, err := u.bytes(n)
	v := int64(binary.LittleEndian.Uint64(pad8(b)))
	if (op == 'J' || op == 0x8a) && n > 0 {
		shift := 64 - 8*n
		v = v << shift >> shift // these two are signed
	}
	return v, err
}

// string reads a string whose length takes width bytes; a long one becomes a span.
func (u *unpickler) string(width int) (any, error) {
	b, err := u.bytes(width)
	if err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(pad8(b))
	if n > uint64(u.file.Size()-u.at) {
		return nil, io.ErrUnexpectedEOF
	}
	if n < longString {
		b, err := u.bytes(int(n))
		return string(b), err
	}
	s := span{offset: u.at, n: int64(n)}
	u.at += s.n
	if _, err := u.file.Seek(u.at, io.SeekStart); err != nil {
		return nil, err
	}
	u.in.Reset(u.file)
	return s, nil
}
