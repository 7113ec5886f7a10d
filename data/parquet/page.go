package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

// pageHeader is what decoding a page needs of its header.
type pageHeader struct {
	kind                     format.PageType
	compressed, uncompressed int // bytes
	values                   int // nulls included
	encoding                 format.Encoding
	levels                   format.Encoding // of version 1's definition levels
	repetition, definition   int             // version 2: bytes of levels, which are not compressed
	plain                    bool            // version 2: the values are not compressed
}

// maxPageValues bounds the values of a page: Arrow writes at most 20,000, others some
// 100,000.
const maxPageValues = 1 << 24

func (h *pageHeader) validate() error {
	switch {
	case h.compressed < 0, h.uncompressed < 0, h.values < 0, h.repetition < 0, h.definition < 0:
		return errors.New("a page header has negative numbers")
	case max(h.compressed, h.uncompressed) > maxPage:
		return fmt.Errorf("a page of %d bytes is larger than %d: write the file with smaller pages or row groups", max(h.compressed, h.uncompressed), maxPage)
	case h.values > maxPageValues:
		return fmt.Errorf("a page claims %d values: more than %d are a mistake", h.values, maxPageValues)
	case int64(h.repetition)+int64(h.definition) > int64(min(h.compressed, h.uncompressed)):
		return errors.New("the levels of a page exceed it")
	}
	return nil
}

// plainDictionary is how older writers call a dictionary's encoding and that of its pages.
const plainDictionary format.Encoding = 2

// layout says how the values of a column are stored.
type layout struct {
	codec   format.CompressionCodec
	width   int // bytes of a number; 0: byte strings
	maximum int // definition level of a value that is not null
}

// dictionary decodes a dictionary page.
func (l layout) dictionary(h pageHeader, body []byte) ([][]byte, error) {
	if h.encoding != format.Plain && h.encoding != plainDictionary {
		return nil, fmt.Errorf("a dictionary in the encoding %v", h.encoding)
	}
	data, err := decompress(l.codec, body, h.uncompressed)
	if err != nil {
		return nil, err
	}
	return l.plain(data, h.values)
}

// decode decodes a data page: one value per row, nil for null.
func (l layout) decode(h pageHeader, body []byte, dictionary [][]byte) ([][]byte, error) {
	levels, data, err := l.split(h, body)
	if err != nil {
		return nil, err
	}
	present := h.values
	for _, level := range levels {
		if level != uint32(l.maximum) {
			present--
		}
	}
	values, err := l.values(h.encoding, data, present, dictionary)
	if err != nil || present == h.values {
		return values, err
	}
	rows := make([][]byte, h.values)
	for i, level := range levels {
		if level == uint32(l.maximum) {
			rows[i], values = values[0], values[1:]
		}
	}
	return rows, nil
}

// split returns a page's definition levels, nil if all values are present, and its values.
func (l layout) split(h pageHeader, body []byte) (levels []uint32, data []byte, err error) {
	width := bits.Len(uint(l.maximum))
	if h.kind == format.DataPageV2 {
		at := h.repetition + h.definition
		if data = body[at:]; h.plain {
			l.codec = format.Uncompressed
		}
		if data, err = decompress(l.codec, data, h.uncompressed-at); err != nil || l.maximum == 0 {
			return nil, data, err
		}
		levels, err = readHybrid(body[h.repetition:at], width, h.values)
		return levels, data, err
	}
	if data, err = decompress(l.codec, body, h.uncompressed); err != nil || l.maximum == 0 {
		return nil, data, err
	}
	if h.levels != format.RLE {
		return nil, nil, fmt.Errorf("definition levels in the encoding %v", h.levels)
	}
	packed, data, err := prefixed(data)
	if err != nil {
		return nil, nil, err
	}
	levels, err = readHybrid(packed, width, h.values)
	return levels, data, err
}

func (l layout) values(encoding format.Encoding, data []byte, n int, dictionary [][]byte) ([][]byte, error) {
	switch encoding {
	case format.Plain:
		return l.plain(data, n)
	case plainDictionary, format.RLEDictionary:
		return lookUp(data, n, dictionary)
	case format.DeltaLengthByteArray:
		if l.width == 0 {
			return deltaStrings(data, n)
		}
	case format.DeltaBinaryPacked:
		if l.width != 0 {
			return l.deltaNumbers(data, n)
		}
	}
	return nil, fmt.Errorf("the encoding %v is not supported: write it plain or with a dictionary", encoding)
}

// plain reads n values: byte strings after their lengths, or numbers.
func (l layout) plain(data []byte, n int) ([][]byte, error) {
	if n > len(data)/max(l.width, 4) {
		return nil, io.ErrUnexpectedEOF
	}
	values := make([][]byte, n)
	var err error
	for i := range values {
		if l.width > 0 {
			values[i], data = data[:l.width:l.width], data[l.width:]
		} else if values[i], data, err = prefixed(data); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// prefixed cuts off bytes that follow their number.
func prefixed(data []byte) (value, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	n := binary.LittleEndian.Uint32(data)
	if data = data[4:]; uint64(n) > uint64(len(data)) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	return data[:n:n], data[n:], nil
}

func lookUp(data []byte, n int, dictionary [][]byte) ([][]byte, error) {
	if n == 0 {
		return nil, nil
	}
	if len(data) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	places, err := readHybrid(data[1:], int(data[0]), n)
	if err != nil {
		return nil, err
	}
	values := make([][]byte, n)
	for i, place := range places {
		if place >= uint32(len(dictionary)) {
			return nil, fmt.Errorf("value %d of a dictionary of %d", place, len(dictionary))
		}
		values[i] = dictionary[place]
	}
	return values, nil
}

// deltaStrings reads lengths and then the bytes.
func deltaStrings(data []byte, n int) ([][]byte, error) {
	if err := checkDelta(data, n); err != nil {
		return nil, err
	}
	all, ends, err := (&delta.LengthByteArrayEncoding{}).DecodeByteArray(nil, data, nil)
	if err != nil {
		return nil, err
	}
	if len(ends) != n+1 {
		return nil, io.ErrUnexpectedEOF
	}
	values := make([][]byte, n)
	for i := range values {
		if ends[i] > ends[i+1] || uint64(ends[i+1]) > uint64(len(all)) {
			return nil, io.ErrUnexpectedEOF
		}
		values[i] = all[ends[i]:ends[i+1]:ends[i+1]]
	}
	return values, nil
}

// deltaNumbers reads numbers as their differences, and returns each as plain would.
func (l layout) deltaNumbers(data []byte, n int) ([][]byte, error) {
	if err := checkDelta(data, n); err != nil {
		return nil, err
	}
	packed := &delta.BinaryPackedEncoding{}
	values := make([][]byte, 0, n)
	if l.width == 4 {
		numbers, err := packed.DecodeInt32(nil, data)
		if err != nil {
			return nil, err
		}
		for _, v := range numbers[:min(n, len(numbers))] {
			values = append(values, binary.LittleEndian.AppendUint32(nil, uint32(v)))
		}
	} else {
		numbers, err := packed.DecodeInt64(nil, data)
		if err != nil {
			return nil, err
		}
		for _, v := range numbers[:min(n, len(numbers))] {
			values = append(values, binary.LittleEndian.AppendUint64(nil, uint64(v)))
		}
	}
	if len(values) < n {
		return nil, io.ErrUnexpectedEOF
	}
	return values, nil
}

// checkDelta checks the header of delta-encoded numbers, whose counts the library believes.
func checkDelta(data []byte, n int) error {
	var head [3]uint64 // numbers per block, parts per block, numbers
	for i := range head {
		v, size := binary.Uvarint(data)
		if size <= 0 {
			return io.ErrUnexpectedEOF
		}
		head[i], data = v, data[size:]
	}
	const most = 1 << 16
	if head[0] > most || head[1] > most || head[2] != uint64(n) {
		return fmt.Errorf("delta-encoded numbers claim to be %d, in blocks of %d of %d parts, in a page of %d", head[2], head[0], head[1], n)
	}
	return nil
}

// Int64 returns the number that a value of a column of integers holds.
func Int64(value []byte) (int64, error) {
	switch len(value) {
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(value))), nil
	case 8:
		return int64(binary.LittleEndian.Uint64(value)), nil
	}
	return math.MinInt64, fmt.Errorf("%d bytes are not an integer", len(value))
}
