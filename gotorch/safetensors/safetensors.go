// Package safetensors reads and writes files in Hugging Face's safetensors format,
// which contain named tensors and no code:
//
//	the header's length in bytes, uint64, little-endian
//	the header, JSON, perhaps followed by spaces:
//	  {"__metadata__": {"format": "pt"},
//	   "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
//	the tensors' elements, little-endian, in C order; the offsets count from here
//
// The format requires that the tensors cover the bytes after the header without
// overlaps or holes, that no key occurs twice, and that the header has at most
// 100,000,000 bytes. A file that violates this is an error.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/wangkuiyi/gotorch/internal/atomicfile"
	"github.com/wangkuiyi/gotorch/internal/strided"
	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/regularfile"
)

const (
	maxHeader   = 100_000_000
	metadataKey = "__metadata__"
)

// File is the content of a safetensors file.
type File struct {
	// Metadata is free text. Python's writers set {"format": "pt"}, which some readers
	// require.
	Metadata map[string]string
	Tensors  []Named
}

// Named is a tensor and its name.
type Named struct {
	Name string
	*pt.Tensor
}

// Get returns the tensor of that name, or nil.
func (f *File) Get(name string) *pt.Tensor {
	for _, t := range f.Tensors {
		if t.Name == name {
			return t.Tensor
		}
	}
	return nil
}

// dtypes are the format's names of the types.
var dtypes = map[pt.DType]string{
	pt.Float32: "F32", pt.Float64: "F64", pt.Float16: "F16", pt.BFloat16: "BF16",
	pt.Int64: "I64", pt.Int32: "I32", pt.Int16: "I16", pt.Int8: "I8", pt.Uint8: "U8", pt.Bool: "BOOL",
}

// info is a tensor's entry in the header.
type info struct {
	DType   string  `json:"dtype"`
	Shape   []int64 `json:"shape"`
	Offsets []int64 `json:"data_offsets"` // first byte, and the byte after the last
}

// ReadFile reads a safetensors file.
func ReadFile(path string) (*File, error) {
	f, err := regularfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	file, err := Read(f, stat.Size())
	if err != nil {
		return nil, fmt.Errorf("safetensors %s: %w", path, err)
	}
	return file, nil
}

// Read reads a file of size bytes. The tensors are in the order of their data, and
// share one slice.
func Read(r io.Reader, size int64) (*File, error) {
	file, entries, total, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	data := make([]byte, total)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	file.fill(entries, data)
	return file, nil
}

// readHeader reads the header of a file of size bytes, and checks it against the size of the data
// that follow, total. The tensors have no data yet; entries are in the same order.
func readHeader(r io.Reader, size int64) (file *File, entries []entry, total int64, err error) {
	var start [8]byte
	if size < int64(len(start)) {
		return nil, nil, 0, fmt.Errorf("truncated at byte %d, in the header's length", size)
	}
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return nil, nil, 0, err
	}
	length, left := binary.LittleEndian.Uint64(start[:]), uint64(size)-8
	if length > maxHeader {
		return nil, nil, 0, fmt.Errorf("not a safetensors file: a header of %d bytes is longer than %d", length, maxHeader)
	}
	if length > left {
		return nil, nil, 0, fmt.Errorf("truncated at byte %d: the header has %d", size, length)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, nil, 0, err
	}
	if file, entries, err = parse(header); err != nil {
		return nil, nil, 0, fmt.Errorf("bad header: %w", err)
	}
	total = int64(left - length)
	return file, entries, total, layOut(file, entries, total)
}

// fill sets the tensors' data to slices of all data.
func (f *File) fill(entries []entry, data []byte) {
	for i, e := range entries {
		f.Tensors[i].Data = data[e.Offsets[0]:e.Offsets[1]:e.Offsets[1]]
	}
}

// entry is a named info.
type entry struct {
	name string
	info
}

// parse reads the header.
func parse(header []byte) (*File, []entry, error) {
	if len(header) == 0 || header[0] != '{' || !utf8.Valid(header) {
		return nil, nil, errors.New("it is not a JSON object in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(header))
	f := &File{}
	var entries []entry
	err := object(d, func(key string) error {
		if key == metadataKey {
			f.Metadata = map[string]string{}
			return object(d, func(key string) error {
				value, err := d.Token()
				text, ok := value.(string)
				if err == nil && !ok {
					err = fmt.Errorf("the metadata %q is not a string", key)
				}
				f.Metadata[key] = text
				return err
			})
		}
		e := entry{name: key}
		err := object(d, e.field(d))
		entries = append(entries, e)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("something follows the JSON object")
	}
	return f, entries, nil
}

// field returns the function that reads one field of a tensor's entry. It skips unknown
// fields, as Hugging Face's reader does.
func (e *info) field(d *json.Decoder) func(key string) error {
	return func(key string) error {
		switch key {
		case "dtype":
			return d.Decode(&e.DType)
		case "shape":
			return d.Decode(&e.Shape)
		case "data_offsets":
			return d.Decode(&e.Offsets)
		}
		var skipped json.RawMessage
		return d.Decode(&skipped)
	}
}

// object reads a JSON object and calls value after each key. Unlike json.Unmarshal it
// rejects duplicate keys and null.
func object(d *json.Decoder, value func(key string) error) error {
	if err := delimiter(d, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return unexpected(err)
		}
		key, _ := token.(string) // the decoder allows no other keys
		if seen[key] {
			return fmt.Errorf("the key %q occurs twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return unexpected(err)
		}
	}
	return delimiter(d, '}')
}

func delimiter(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err != nil {
		return unexpected(err)
	}
	if token != want {
		return fmt.Errorf("%v instead of %v", token, want)
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// layOut checks the entries against the total bytes of data, sorts them by offset, and
// makes their tensors, without data.
func layOut(f *File, entries []entry, total int64) error {
	for _, e := range entries {
		if len(e.Offsets) != 2 {
			return fmt.Errorf("tensor %q: data_offsets is not a pair", e.name)
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return slices.Compare(a.Offsets, b.Offsets) })
	end := int64(0)
	for _, e := range entries {
		t, size, err := e.tensor()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", e.name, err)
		}
		if e.Offsets[0] != end || size > total-end || e.Offsets[1] != end+size {
			return fmt.Errorf("tensor %q: %v %v at data_offsets %v does not follow byte %d, or goes beyond the %d bytes of data",
				e.name, e.DType, e.Shape, e.Offsets, end, total)
		}
		end += size
		f.Tensors = append(f.Tensors, Named{e.name, t})
	}
	if end != total {
		return fmt.Errorf("the tensors end at byte %d of the %d bytes of data", end, total)
	}
	return nil
}

// tensor makes the tensor, and returns the number of bytes of its data.
func (e *info) tensor() (*pt.Tensor, int64, error) {
	for d, name := range dtypes {
		if name != e.DType {
			continue
		}
		size, ok := strided.Bytes(e.Shape, d.Size())
		if !ok || e.Shape == nil {
			return nil, 0, fmt.Errorf("the shape %v is missing or impossible", e.Shape)
		}
		return &pt.Tensor{DType: d, Shape: e.Shape}, size, nil
	}
	return nil, 0, fmt.Errorf("the dtype %q is not supported", e.DType)
}

// WriteFile writes a file atomically.
func WriteFile(path string, f *File) error {
	if err := atomicfile.Write(path, func(w io.Writer) error { return Write(w, f) }); err != nil {
		return fmt.Errorf("safetensors %s: %w", path, err)
	}
	return nil
}

// Write writes f. Tensors are sorted by decreasing element size, so that each is
// aligned; those of one size keep their order.
func Write(w io.Writer, f *File) error {
	tensors := slices.Clone(f.Tensors)
	slices.SortStableFunc(tensors, func(a, b Named) int { return cmp.Compare(elementSize(b), elementSize(a)) })
	header, err := encode(f.Metadata, tensors)
	if err != nil {
		return err
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}

func elementSize(t Named) int64 {
	if t.Tensor == nil {
		return 0
	}
	return t.DType.Size()
}

// encode makes the header, padded so that the data begins at a multiple of 8.
func encode(metadata map[string]string, tensors []Named) ([]byte, error) {
	h := header{seen: map[string]bool{}}
	h.WriteByte('{')
	if len(metadata) > 0 {
		h.field(metadataKey, metadata)
	}
	for key, value := range metadata {
		h.checkText(key)
		h.checkText(value)
	}
	h.seen[metadataKey] = true
	offset := int64(0)
	for _, t := range tensors {
		if t.Tensor == nil {
			return nil, fmt.Errorf("tensor %q is nil", t.Name)
		}
		if err := t.Check(); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		end := offset + int64(len(t.Data))
		h.field(t.Name, info{dtypes[t.DType], append([]int64{}, t.Shape...), []int64{offset, end}})
		offset = end
	}
	h.WriteByte('}')
	for h.Len()%8 != 0 {
		h.WriteByte(' ')
	}
	if h.err == nil && h.Len() > maxHeader {
		h.err = fmt.Errorf("a header of %d bytes is longer than the format's %d", h.Len(), maxHeader)
	}
	return h.Bytes(), h.err
}

// header is the JSON so far. It is written by hand because encoding/json would sort the
// tensors by name.
type header struct {
	bytes.Buffer
	seen map[string]bool
	err  error
}

func (h *header) field(key string, value any) {
	h.checkText(key)
	if h.seen[key] && h.err == nil {
		h.err = fmt.Errorf("the name %q occurs twice, or is reserved", key)
	}
	h.seen[key] = true
	if h.Len() > len("{") {
		h.WriteByte(',')
	}
	name, _ := json.Marshal(key) // neither can fail
	text, _ := json.Marshal(value)
	h.Write(name)
	h.WriteByte(':')
	h.Write(text)
}

func (h *header) checkText(text string) {
	if !utf8.ValidString(text) && h.err == nil {
		h.err = fmt.Errorf("%q is not UTF-8", text)
	}
}
