package parquet

import (
	"encoding/binary"
	"errors"
	"io"
)

// readHybrid reads n numbers of some bits each, in Parquet's mixture of runs and
// bit-packed groups. It needs no more memory than they, however long a run claims to be.
func readHybrid(src []byte, bits, n int) ([]uint32, error) {
	if bits < 0 || bits > 32 {
		return nil, errors.New("numbers of more than 32 bits")
	}
	out := make([]uint32, 0, n)
	for len(out) < n {
		head, size := binary.Uvarint(src)
		if size <= 0 {
			return nil, io.ErrUnexpectedEOF
		}
		src = src[size:]
		var err error
		if head&1 == 1 {
			out, src, err = readPacked(out, src, bits, n, head>>1)
		} else {
			out, src, err = readRun(out, src, bits, n, head>>1)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func readRun(out []uint32, src []byte, bits, n int, count uint64) ([]uint32, []byte, error) {
	width := (bits + 7) / 8
	if len(src) < width {
		return nil, nil, io.ErrUnexpectedEOF
	}
	if count == 0 {
		return nil, nil, errors.New("a run of no values")
	}
	var value uint32
	for i := range width {
		value |= uint32(src[i]) << (8 * i)
	}
	for range min(count, uint64(n-len(out))) {
		out = append(out, value)
	}
	return out, src[width:], nil
}

// readPacked reads groups of 8 numbers, of which the last group of a page may be cut.
func readPacked(out []uint32, src []byte, bits, n int, groups uint64) ([]uint32, []byte, error) {
	if groups == 0 {
		return nil, nil, errors.New("no groups of bits")
	}
	count := n - len(out)
	if groups < uint64(count) {
		count = min(count, 8*int(groups))
	}
	if (count*bits+7)/8 > len(src) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	var buffer uint64
	have, at := 0, 0
	for range count {
		for have < bits {
			buffer |= uint64(src[at]) << have
			have, at = have+8, at+1
		}
		out = append(out, uint32(buffer&(1<<bits-1)))
		buffer, have = buffer>>bits, have-bits
	}
	return out, src[min(uint64(len(src)), groups*uint64(bits)):], nil
}
