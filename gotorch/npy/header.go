package npy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/wangkuiyi/gotorch/internal/strided"
)

const (
	magic = "\x93NUMPY"
	// maxHeader is the maximum length of a header. NumPy reads headers above 10,000
	// bytes only on request, and writes some 128.
	maxHeader = 1 << 16
	// maxRank is NumPy's maximum.
	maxRank = 64
	// alignment of the data in a file that NumPy or this package writes.
	alignment = 64
)

// header is the header of a .npy file.
type header struct {
	dtype     DType
	bigEndian bool
	fortran   bool
	shape     []int64
	size      int64 // of the data, in bytes
}

// readHeader reads everything before the data, and returns the number of bytes read.
func readHeader(r io.Reader) (header, int64, error) {
	var start [12]byte
	if _, err := io.ReadFull(r, start[:10]); err != nil {
		return header{}, 0, unexpected(err)
	}
	if string(start[:6]) != magic {
		return header{}, 0, errors.New("not a .npy file (it does not begin with \\x93NUMPY)")
	}
	length, read := int64(binary.LittleEndian.Uint16(start[8:])), int64(10)
	switch start[6] {
	case 1:
	case 2, 3:
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return header{}, 0, unexpected(err)
		}
		length, read = int64(binary.LittleEndian.Uint32(start[8:])), 12
	default:
		return header{}, 0, fmt.Errorf("version %d.%d of the format is not supported, only 1.0 to 3.0", start[6], start[7])
	}
	if length > maxHeader {
		return header{}, 0, fmt.Errorf("a header of %d bytes is longer than %d", length, maxHeader)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, 0, unexpected(err)
	}
	h, err := parseHeader(string(text))
	if err != nil {
		return header{}, 0, fmt.Errorf("bad header %.200q: %w", text, err)
	}
	return h, read + length, nil
}

// unexpected turns io.EOF into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseHeader parses the dict literal.
func parseHeader(text string) (header, error) {
	p := parser{rest: text}
	var h header
	seen := map[string]bool{}
	p.expect("{")
	for p.err == nil && !p.accept("}") {
		key := p.quoted()
		if seen[key] {
			p.fail("%q twice", key)
		}
		seen[key] = true
		p.expect(":")
		switch key {
		case "descr":
			p.descr(&h)
		case "fortran_order":
			h.fortran = p.boolean()
		case "shape":
			h.shape = p.tuple()
		default:
			p.fail("unknown key %q", key)
		}
		if !p.accept(",") {
			p.expect("}")
			break
		}
	}
	if p.err == nil && p.skipSpace() != "" {
		p.fail("something follows the dict")
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			p.fail("no %q", key)
		}
	}
	if p.err != nil {
		return header{}, p.err
	}
	var ok bool
	if h.size, ok = strided.Bytes(h.shape, h.dtype.Size()); !ok || h.size > math.MaxInt {
		return header{}, fmt.Errorf("the shape %v is too large", h.shape)
	}
	return h, nil
}

// parser parses the subset of Python's grammar that headers use. After the first
// failure err is kept and every method returns at once.
type parser struct {
	rest string
	err  error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *parser) skipSpace() string {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	return p.rest
}

func (p *parser) accept(token string) bool {
	if p.err != nil || !strings.HasPrefix(p.skipSpace(), token) {
		return false
	}
	p.rest = p.rest[len(token):]
	return true
}

func (p *parser) expect(token string) {
	if !p.accept(token) {
		p.fail("%q expected at %.20q", token, p.rest)
	}
}

func (p *parser) quoted() string {
	for _, quote := range []string{"'", `"`} {
		if !p.accept(quote) {
			continue
		}
		text, rest, found := strings.Cut(p.rest, quote)
		if !found {
			p.fail("a string without an end")
		}
		p.rest = rest
		return text
	}
	p.fail("a string expected at %.20q", p.rest)
	return ""
}

func (p *parser) boolean() bool {
	if p.accept("True") {
		return true
	}
	p.expect("False")
	return false
}

func (p *parser) descr(h *header) {
	if strings.HasPrefix(p.skipSpace(), "[") {
		p.fail("structured arrays are not supported")
		return
	}
	text := p.quoted()
	if p.err != nil {
		return
	}
	if len(text) < 2 {
		p.fail("dtype %q is not supported", text)
		return
	}
	h.bigEndian = text[0] == '>'
	h.dtype = DType(slices.IndexFunc(dtypes[:], func(d struct{ name, code string }) bool { return d.code == text[1:] }))
	if !h.dtype.valid() || !strings.ContainsAny(text[:1], "<>|") || (text[0] == '|' && h.dtype.Size() > 1) {
		p.fail("dtype %q is not supported, only bool, (u)int8 to 64 and float16 to 64", text)
	}
}

func (p *parser) tuple() []int64 {
	shape := []int64{}
	p.expect("(")
	for p.err == nil && !p.accept(")") {
		shape = append(shape, p.integer())
		if len(shape) > maxRank {
			p.fail("more than %d dimensions", maxRank)
		}
		if !p.accept(",") {
			p.expect(")")
			break
		}
	}
	return shape
}

func (p *parser) integer() int64 {
	p.skipSpace()
	end := 0
	for end < len(p.rest) && p.rest[end] >= '0' && p.rest[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(p.rest[:end], 10, 64)
	if err != nil {
		p.fail("a dimension expected at %.20q", p.rest)
		return 0
	}
	p.rest = p.rest[end:]
	p.accept("L") // the suffix of Python 2's long integers
	return n
}

// appendHeader encodes the header as NumPy does.
func appendHeader(b []byte, a *Array) []byte {
	var dict bytes.Buffer
	order := "<"
	if a.DType.Size() == 1 {
		order = "|"
	}
	fmt.Fprintf(&dict, "{'descr': '%s%s', 'fortran_order': False, 'shape': (", order, dtypes[a.DType].code)
	for i, d := range a.Shape {
		if i > 0 {
			dict.WriteByte(' ')
		}
		fmt.Fprintf(&dict, "%d,", d)
	}
	text := dict.Bytes()
	if len(a.Shape) > 1 { // (2,) but (2, 3)
		text = text[:len(text)-1]
	}
	text = append(text, "), }"...)
	const before = len(magic) + 4
	for (before+len(text)+1)%alignment != 0 {
		text = append(text, ' ')
	}
	text = append(text, '\n')
	b = append(b, magic...)
	b = append(b, 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}
