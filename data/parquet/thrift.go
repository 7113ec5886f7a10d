package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The types of Thrift's compact protocol, and the type of a map's or list's booleans.
const (
	thriftStop = iota
	thriftTrue
	thriftFalse
	thriftByte
	thriftI16
	thriftI32
	thriftI64
	thriftDouble
	thriftBinary
	thriftList
	thriftSet
	thriftMap
	thriftStruct
)

// maxThriftDepth bounds nested structs: a footer needs six.
const maxThriftDepth = 32

// thriftChecker walks over a value, so that a decoder that follows allocates in proportion
// to the bytes that there are.
type thriftChecker struct {
	b []byte
	n int // bytes read
}

// structLength returns the length of the struct at the start of b, in bytes. It is
// io.ErrUnexpectedEOF if b ends within the struct, and another error if a count exceeds
// what b can hold.
func structLength(b []byte) (int, error) {
	c := thriftChecker{b: b}
	err := c.skipStruct(0)
	return c.n, err
}

func (c *thriftChecker) skipStruct(depth int) error {
	if depth > maxThriftDepth {
		return errors.New("structs are nested too deeply")
	}
	for {
		head, err := c.byte()
		if err != nil || head == thriftStop {
			return err
		}
		if head>>4 == 0 { // the field's number follows
			if _, err := c.uvarint(); err != nil {
				return err
			}
		}
		kind := head & 0xf
		if kind == thriftTrue || kind == thriftFalse {
			continue // the value is in the type
		}
		if err := c.skip(kind, depth); err != nil {
			return err
		}
	}
}

// skip walks over a value of a kind.
func (c *thriftChecker) skip(kind byte, depth int) error {
	switch kind {
	case thriftTrue, thriftFalse, thriftByte:
		return c.take(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := c.uvarint()
		return err
	case thriftDouble:
		return c.take(8)
	case thriftBinary:
		n, err := c.uvarint()
		if err != nil {
			return err
		}
		return c.take(n)
	case thriftList, thriftSet:
		return c.skipList(depth)
	case thriftMap:
		return c.skipMap(depth)
	case thriftStruct:
		return c.skipStruct(depth + 1)
	}
	return fmt.Errorf("unknown type %d", kind)
}

func (c *thriftChecker) skipList(depth int) error {
	head, err := c.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 0xf {
		if n, err = c.uvarint(); err != nil {
			return err
		}
	}
	return c.skipItems(n, depth, head&0xf)
}

func (c *thriftChecker) skipMap(depth int) error {
	n, err := c.uvarint()
	if err != nil || n == 0 {
		return err
	}
	kinds, err := c.byte()
	if err != nil {
		return err
	}
	return c.skipItems(n, depth, kinds>>4, kinds&0xf)
}

// skipItems walks over n items, each of one value per kind. An item has at least a byte.
func (c *thriftChecker) skipItems(n uint64, depth int, kinds ...byte) error {
	if n > uint64(len(c.b)-c.n) {
		return io.ErrUnexpectedEOF
	}
	for range n {
		for _, kind := range kinds {
			if err := c.skip(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *thriftChecker) byte() (byte, error) {
	if c.n >= len(c.b) {
		return 0, io.ErrUnexpectedEOF
	}
	c.n++
	return c.b[c.n-1], nil
}

func (c *thriftChecker) take(n uint64) error {
	if n > uint64(len(c.b)-c.n) {
		return io.ErrUnexpectedEOF
	}
	c.n += int(n)
	return nil
}

func (c *thriftChecker) uvarint() (uint64, error) {
	v, n := binary.Uvarint(c.b[c.n:])
	switch {
	case n == 0:
		return 0, io.ErrUnexpectedEOF
	case n < 0:
		return 0, errors.New("a number has more than 64 bits")
	}
	c.n += n
	return v, nil
}
