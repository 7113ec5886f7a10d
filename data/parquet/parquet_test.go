package parquet

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wanted is the image of row i in testdata; see make.py.
func wanted(i int) []byte {
	if i%7 == 3 {
		return nil
	}
	return bytes.Repeat([]byte{byte(i)}, i)
}

const rows = 50

func testFiles(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.parquet")
	if err != nil || len(paths) < 7 {
		t.Fatalf("%d files: %v", len(paths), err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if files[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func opened(t testing.TB, file []byte) *File {
	t.Helper()
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func column(t testing.TB, f *File, path ...string) *Column {
	t.Helper()
	c, err := f.Column(path...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestArrow reads files that Arrow wrote with each compression and encoding.
func TestArrow(t *testing.T) {
	for name, file := range testFiles(t) {
		t.Run(name, func(t *testing.T) {
			f := opened(t, file)
			checkBytes(t, column(t, f, "image", "bytes"))
			for path, want := range map[string]func(i int) int64{
				"label": func(i int) int64 { return int64(i % 3) },
				"small": func(i int) int64 { return int64(-i) },
			} {
				c := column(t, f, path)
				if c.Rows() != rows {
					t.Fatalf("%s: %d rows", path, c.Rows())
				}
				if err := c.Each(func(i int, v []byte) error {
					if got, err := Int64(v); err != nil || got != want(i) {
						t.Errorf("%s of row %d: %d, %v", path, i, got, err)
					}
					return nil
				}); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		})
	}
}

// checkBytes reads the images in order, backwards with caches of several sizes, and without.
func checkBytes(t *testing.T, c *Column) {
	t.Helper()
	if c.Rows() != rows {
		t.Fatalf("%d rows", c.Rows())
	}
	check := func(i int, v []byte) {
		if want := wanted(i); !bytes.Equal(v, want) || (v == nil) != (want == nil) {
			t.Errorf("row %d is %v", i, v)
		}
	}
	if err := c.Each(func(i int, v []byte) error { check(i, v); return nil }); err != nil {
		t.Error(err)
	}
	for _, cache := range []*Cache{nil, NewCache(0), NewCache(3000), NewCache(1 << 20)} {
		for i := rows - 1; i >= 0; i-- {
			v, err := c.Value(i, cache)
			if err != nil {
				t.Fatal(err)
			}
			check(i, v)
		}
		if cache != nil && cache.bytes > max(cache.limit, 4000) {
			t.Errorf("a cache of %d bytes holds %d", cache.limit, cache.bytes)
		}
	}
}

func TestColumns(t *testing.T) {
	f := opened(t, testFiles(t)["snappy.parquet"])
	var got []string
	for _, path := range f.Columns() {
		got = append(got, fmt.Sprintf("%s:%d", strings.Join(path, "."), f.Kind(path...)))
	}
	if want := "image.bytes:1 image.path:1 label:2 small:2 sizes.list.element:0 score:0"; strings.Join(got, " ") != want {
		t.Errorf("columns %v, want %s", got, want)
	}
	if !strings.Contains(f.Metadata("huggingface"), "features") || f.Metadata("none") != "" {
		t.Errorf("metadata %q", f.Metadata("huggingface"))
	}
	for _, path := range [][]string{{"score"}, {"image"}, {"sizes", "list", "element"}, {"nothing"}} {
		if _, err := f.Column(path...); err == nil {
			t.Errorf("column %v is read", path)
		}
	}
}

func TestDamaged(t *testing.T) {
	file := testFiles(t)["zstd.parquet"]
	footer := func(n uint32) []byte {
		b := bytes.Clone(file)
		for i := range 4 {
			b[len(b)-8+i] = byte(n >> (8 * i))
		}
		return b
	}
	for what, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":        {nil, "unexpected EOF"},
		"cut short":    {file[:len(file)/2], "cut short or another file"},
		"encrypted":    {append(bytes.Clone(file[:len(file)-4]), "PARE"...), "encrypted"},
		"footer":       {footer(1 << 31), "a footer of 2147483648 bytes in a file of"},
		"short footer": {footer(100), "footer"},
	} {
		if _, err := Open(bytes.NewReader(c.file), int64(len(c.file))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", what, err, c.want)
		}
	}
	f := opened(t, file)
	c := column(t, f, "image", "bytes")
	damaged := bytes.Clone(file)
	p := c.pages[2]
	clear(damaged[p.offset : p.offset+int64(p.header.compressed)])
	c.file.r = bytes.NewReader(damaged)
	if _, err := c.Value(p.first, nil); err == nil {
		t.Error("a page of zeros is read")
	}
	if _, err := c.Value(p.first-1, nil); err != nil {
		t.Errorf("the page before is not read: %v", err)
	}
}

// TestClaims decodes counts and sizes that are far larger than the data.
func TestClaims(t *testing.T) {
	list := []byte{0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0} // 2^31-1 structs
	if _, err := structLength(list); err == nil {
		t.Error("a list of 2^31-1 structs in 8 bytes passes")
	}
	if _, err := structLength(bytes.Repeat([]byte{0x1c}, 1000)); err == nil || !strings.Contains(err.Error(), "deeply") {
		t.Errorf("1000 nested structs: %v", err)
	}
	if got, err := readHybrid([]byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 1}, 1, 3); err != nil || len(got) != 3 || got[2] != 1 {
		t.Errorf("3 values of a run of 2^31-1: %v, %v", got, err)
	}
	if _, err := readHybrid([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1}, 7, 100); err == nil {
		t.Error("2^63 groups in a byte pass")
	}
	for codec := range 8 {
		if codec == 0 {
			continue // not compressed
		}
		if _, err := decompress(formatCodec(codec), []byte{0xff, 0xff, 0xff, 0x7f, 0}, maxPage); err == nil {
			t.Errorf("codec %d: 512 MiB of 5 bytes", codec)
		}
	}
	if err := (&pageHeader{values: maxPageValues + 1}).validate(); err == nil {
		t.Error("a page of too many values passes")
	}
	if err := (&pageHeader{compressed: 8, uncompressed: maxPage + 1}).validate(); err == nil {
		t.Error("a page of too many bytes passes")
	}
}

func FuzzFile(f *testing.F) {
	for _, file := range testFiles(f) {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		p, err := Open(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		for _, path := range p.Columns() {
			c, err := p.Column(path...)
			if err != nil {
				continue
			}
			n := 0
			err = c.Each(func(int, []byte) error { n++; return nil })
			if err == nil && n != c.Rows() {
				t.Fatalf("%d of %d rows", n, c.Rows())
			}
			if c.Rows() > 0 {
				_, _ = c.Value(c.Rows()-1, NewCache(1<<20))
			}
		}
	})
}

// FuzzPage decodes one page in every encoding and compression.
func FuzzPage(f *testing.F) {
	for _, file := range testFiles(f) {
		p := opened(f, file)
		for _, path := range p.Columns() {
			c, err := p.Column(path...)
			if err != nil {
				continue
			}
			k := c.pages[0]
			body, err := p.body(&k)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(body, byte(c.groups[0].codec), byte(k.header.encoding), uint16(k.header.values), uint16(k.header.uncompressed), byte(k.header.definition), byte(c.layout.width))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, codec, encoding byte, values, uncompressed uint16, definition, width byte) {
		h := pageHeader{
			compressed: len(body), uncompressed: int(uncompressed), values: int(values),
			encoding: formatEncoding(encoding), definition: int(definition), levels: formatEncoding(3),
		}
		l := layout{codec: formatCodec(int(codec)), width: int(width) % 3 * 4, maximum: int(definition) % 3}
		for _, kind := range pageTypes {
			h.kind = kind
			if h.validate() != nil {
				continue
			}
			if rows, err := l.decode(h, body, [][]byte{{1}, {2}}); err == nil && len(rows) != h.values {
				t.Fatalf("%d rows of %d", len(rows), h.values)
			}
		}
	})
}
