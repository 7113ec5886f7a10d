package parquet

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Column is a column of a file whose pages have been found.
type Column struct {
	file   *File
	layout layout
	pages  []page
	groups []group
	rows   int
	bytes  int64
}

// chunk is the part of a column in a row group.
type chunk struct {
	offset, size int64
	rows         int
	codec        format.CompressionCodec
	kind         format.Type
}

// group is a chunk's dictionary and compression.
type group struct {
	codec      format.CompressionCodec
	dictionary *page // nil: none
}

// page is a page in the file.
type page struct {
	header pageHeader
	offset int64 // of the body
	first  int   // row
	group  int
}

// Column finds the pages of a column, by their headers.
func (f *File) Column(path ...string) (c *Column, err error) {
	defer func() {
		if p := recover(); p != nil {
			c, err = nil, fmt.Errorf("corrupt pages: %v", p)
		}
		if err != nil {
			err = fmt.Errorf("column %s: %w", strings.Join(path, "."), err)
		}
	}()
	i := f.find(path)
	if i < 0 || f.leaves[i].kind == Other {
		return nil, errors.New("there is no such column of bytes or integers")
	}
	chunks, err := f.chunks(i)
	if err != nil {
		return nil, err
	}
	c = &Column{file: f, layout: layout{maximum: f.leaves[i].maximum}}
	for g, chunk := range chunks {
		width, ok := map[format.Type]int{format.ByteArray: 0, format.Int32: 4, format.Int64: 8}[chunk.kind]
		if !ok || g > 0 && width != c.layout.width || (width == 0) != (f.leaves[i].kind == Bytes) {
			return nil, fmt.Errorf("row group %d has values of another type", g)
		}
		c.layout.width = width
		if err := c.index(chunk); err != nil {
			return nil, fmt.Errorf("row group %d: %w", g, err)
		}
	}
	if int64(c.rows) > f.size {
		return nil, fmt.Errorf("%d rows are claimed by a file of %d bytes", c.rows, f.size)
	}
	return c, nil
}

// index finds the pages of a chunk.
func (c *Column) index(k chunk) error {
	g := group{codec: k.codec}
	end, last := k.offset+k.size, c.rows+k.rows
	for at := k.offset; at < end && c.rows < last; {
		h, n, err := c.file.header(at, end)
		if err == nil {
			err = h.validate()
		}
		if err != nil {
			return err
		}
		p := page{header: h, offset: at + int64(n), first: c.rows, group: len(c.groups)}
		at = p.offset + int64(h.compressed)
		switch {
		case at > end:
			return io.ErrUnexpectedEOF
		case h.kind == format.DictionaryPage:
			g.dictionary = &p
		case h.kind == format.DataPage, h.kind == format.DataPageV2:
			c.pages, c.rows = append(c.pages, p), c.rows+h.values
			c.bytes += int64(h.uncompressed)
		}
	}
	if c.rows != last {
		return fmt.Errorf("its pages do not have the %d values that it claims", k.rows)
	}
	c.groups = append(c.groups, g)
	return nil
}

// header reads the page header at an offset, and returns its length.
func (f *File) header(at, end int64) (h pageHeader, n int, err error) {
	var b []byte
	for _, size := range []int64{1 << 9, 1 << 16, 1 << 22} { // statistics can be long
		b = make([]byte, min(size, end-at))
		if _, err := f.r.ReadAt(b, at); err != nil && err != io.EOF {
			return h, 0, err
		}
		if n, err = structLength(b); err != io.ErrUnexpectedEOF || size >= end-at {
			break
		}
	}
	if err != nil {
		return h, 0, fmt.Errorf("a page header is corrupt: %w", err)
	}
	var read format.PageHeader
	if err := thrift.Unmarshal(&thrift.CompactProtocol{}, b[:n], &read); err != nil {
		return h, 0, fmt.Errorf("a page header is corrupt: %w", err)
	}
	h = pageHeader{kind: read.Type, compressed: int(read.CompressedPageSize), uncompressed: int(read.UncompressedPageSize)}
	return h, n, h.fill(&read)
}

func (h *pageHeader) fill(read *format.PageHeader) error {
	ok := true
	switch h.kind {
	case format.DataPage:
		v := read.DataPageHeader
		ok, h.values, h.encoding, h.levels = v.Valid, int(v.V.NumValues), v.V.Encoding, v.V.DefinitionLevelEncoding
	case format.DataPageV2:
		v := read.DataPageHeaderV2
		ok, h.values, h.encoding = v.Valid, int(v.V.NumValues), v.V.Encoding
		h.repetition, h.definition = int(v.V.RepetitionLevelsByteLength), int(v.V.DefinitionLevelsByteLength)
		h.plain = v.V.IsCompressed.Valid && !v.V.IsCompressed.V
	case format.DictionaryPage:
		v := read.DictionaryPageHeader
		ok, h.values, h.encoding = v.Valid, int(v.V.NumValues), v.V.Encoding
	}
	if !ok {
		return fmt.Errorf("a page header of type %v lacks its part", h.kind)
	}
	return nil
}

// Rows returns the number of values, nulls included.
func (c *Column) Rows() int { return c.rows }

// Bytes returns the size of all pages, decompressed.
func (c *Column) Bytes() int64 { return c.bytes }

// PageOf returns the number of the page that has a row, which reading the row decodes.
func (c *Column) PageOf(row int) int {
	return sort.Search(len(c.pages), func(k int) bool { return c.pages[k].first > row }) - 1
}

// Value returns the value of a row, 0 <= row < Rows, or nil for null. It must not be
// changed. cache may be nil.
func (c *Column) Value(row int, cache *Cache) ([]byte, error) {
	k := c.PageOf(row)
	values, err := cache.get(pageKey{c, k}, func() ([][]byte, int64, error) { return c.read(k, cache) })
	if err != nil {
		return nil, err
	}
	return values[row-c.pages[k].first], nil
}

// Each calls use with every value in order, nil for null, and keeps no page.
func (c *Column) Each(use func(row int, value []byte) error) error {
	cache := NewCache(0) // the dictionary serves several pages
	for k, p := range c.pages {
		values, _, err := c.read(k, cache)
		if err != nil {
			return err
		}
		for i, v := range values {
			if err := use(p.first+i, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// read decodes a page and returns its size in memory.
func (c *Column) read(k int, cache *Cache) (values [][]byte, size int64, err error) {
	defer func() { // decompressors and the library's decoders
		if p := recover(); p != nil {
			values, size, err = nil, 0, fmt.Errorf("a page is corrupt: %v", p)
		}
	}()
	p := c.pages[k]
	dictionary, err := c.dictionary(p.group, cache)
	if err != nil {
		return nil, 0, err
	}
	body, err := c.file.body(&p)
	if err != nil {
		return nil, 0, err
	}
	l := c.layout
	l.codec = c.groups[p.group].codec
	values, err = l.decode(p.header, body, dictionary)
	if err == nil && len(values) != p.header.values {
		err = io.ErrUnexpectedEOF
	}
	return values, p.memory(), err
}

// dictionary returns the dictionary of a row group, nil if it has none.
func (c *Column) dictionary(g int, cache *Cache) ([][]byte, error) {
	of := c.groups[g]
	if of.dictionary == nil {
		return nil, nil
	}
	return cache.get(pageKey{c, -1 - g}, func() ([][]byte, int64, error) {
		body, err := c.file.body(of.dictionary)
		if err != nil {
			return nil, 0, err
		}
		l := c.layout
		l.codec = of.codec
		values, err := l.dictionary(of.dictionary.header, body)
		return values, of.dictionary.memory(), err
	})
}

func (f *File) body(p *page) ([]byte, error) {
	b := make([]byte, p.header.compressed)
	_, err := f.r.ReadAt(b, p.offset)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// memory returns the bytes that a decoded page occupies.
func (p *page) memory() int64 {
	const slice = 24
	return int64(p.header.uncompressed) + slice*int64(p.header.values)
}
