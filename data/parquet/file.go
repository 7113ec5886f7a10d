package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Kind is what the values of a column are.
type Kind int

// The kinds of columns.
const (
	Other   Kind = iota // of no use here: floating-point numbers, lists, ...
	Bytes               // byte strings, and text
	Integer             // numbers of 32 or 64 bits; see [Int64]
)

// File is an open Parquet file. Goroutines may use it at once.
type File struct {
	r        io.ReaderAt
	size     int64
	metadata *format.FileMetaData
	leaves   []leaf
	places   map[string]int // of the leaves, by pathKey
}

// leaf is a column of the schema.
type leaf struct {
	path    []string
	kind    Kind
	maximum int // definition level of values that are not null
}

// Open reads the footer of a file of size bytes.
func Open(r io.ReaderAt, size int64) (f *File, err error) {
	defer func() { // the library has panicked on damaged files before
		if p := recover(); p != nil {
			f, err = nil, fmt.Errorf("the footer is corrupt: %v", p)
		}
	}()
	if err := checkFooter(r, size); err != nil {
		return nil, err
	}
	opened, err := pq.OpenFile(r, size, pq.SkipPageIndex(true), pq.SkipBloomFilters(true), pq.OptimisticRead(false))
	if err != nil {
		return nil, err
	}
	f = &File{r: r, size: size, metadata: opened.Metadata(), places: map[string]int{}}
	f.addLeaves(opened.Root())
	return f, nil
}

// checkFooter checks the footer's length and counts before the library allocates them.
func checkFooter(r io.ReaderAt, size int64) error {
	const tail, magic = 8, "PAR1"
	var end [tail]byte
	if size < int64(len(magic))+tail {
		return io.ErrUnexpectedEOF
	}
	if _, err := r.ReadAt(end[:], size-tail); err != nil && err != io.EOF {
		return err
	}
	switch string(end[4:]) {
	case magic:
	case "PARE":
		return errors.New("the file is encrypted")
	default:
		return fmt.Errorf("it does not end as a Parquet file, with %s: it is cut short or another file", magic)
	}
	length := int64(binary.LittleEndian.Uint32(end[:]))
	if length > size-tail-int64(len(magic)) {
		return fmt.Errorf("a footer of %d bytes in a file of %d", length, size)
	}
	footer := make([]byte, length)
	if _, err := r.ReadAt(footer, size-tail-length); err != nil {
		return err
	}
	if _, err := structLength(footer); err != nil {
		return fmt.Errorf("the footer is corrupt: %w", err)
	}
	return nil
}

func (f *File) addLeaves(c *pq.Column) {
	for _, child := range c.Columns() {
		f.addLeaves(child)
	}
	if !c.Leaf() {
		return
	}
	l := leaf{path: c.Path(), maximum: c.MaxDefinitionLevel()}
	if c.MaxRepetitionLevel() == 0 {
		switch c.Type().Kind() {
		case pq.ByteArray:
			l.kind = Bytes
		case pq.Int32, pq.Int64:
			l.kind = Integer
		}
	}
	if _, twice := f.places[pathKey(l.path)]; !twice {
		f.places[pathKey(l.path)] = len(f.leaves)
	}
	f.leaves = append(f.leaves, l)
}

// Columns returns the paths of the columns, in the schema's order: {"image", "bytes"} for
// a member of a struct.
func (f *File) Columns() [][]string {
	paths := make([][]string, len(f.leaves))
	for i, l := range f.leaves {
		paths[i] = l.path
	}
	return paths
}

// Kind returns what the values of a column are, and Other if there is no such column.
func (f *File) Kind(path ...string) Kind {
	if i := f.find(path); i >= 0 {
		return f.leaves[i].kind
	}
	return Other
}

func (f *File) find(path []string) int {
	if i, ok := f.places[pathKey(path)]; ok {
		return i
	}
	return -1
}

func pathKey(path []string) string { return strings.Join(path, "\x00") }

// Metadata returns a value of the file's metadata, "" if it is not there.
func (f *File) Metadata(key string) string {
	for _, kv := range f.metadata.KeyValueMetadata {
		if kv.Key == key {
			return kv.Value
		}
	}
	return ""
}

// chunks returns where the values of a column are, by row group.
func (f *File) chunks(leaf int) ([]chunk, error) {
	all := make([]chunk, 0, len(f.metadata.RowGroups))
	for g, group := range f.metadata.RowGroups {
		if leaf >= len(group.Columns) {
			return nil, fmt.Errorf("row group %d lacks columns", g)
		}
		c := group.Columns[leaf]
		m := &c.MetaData
		if c.FilePath != "" {
			return nil, errors.New("the values are in another file")
		}
		first := m.DataPageOffset
		if m.DictionaryPageOffset > 0 {
			first = min(first, m.DictionaryPageOffset)
		}
		if first < 0 || m.TotalCompressedSize < 0 || first > f.size || m.TotalCompressedSize > f.size-first {
			return nil, fmt.Errorf("row group %d is not within the file, which is cut short or corrupt", g)
		}
		if group.NumRows < 0 || group.NumRows > math.MaxInt32 || group.NumRows != m.NumValues {
			return nil, fmt.Errorf("row group %d has %d values in %d rows", g, m.NumValues, group.NumRows)
		}
		all = append(all, chunk{offset: first, size: m.TotalCompressedSize, rows: int(group.NumRows), codec: m.Codec, kind: m.Type})
	}
	return all, nil
}
