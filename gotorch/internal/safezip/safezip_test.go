package safezip

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
)

type entry struct {
	name   string
	method uint16
	data   []byte
}

func makeZip(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, err := z.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// overlapping is a zip whose n directory entries all refer to the same stored bytes.
func overlapping(t *testing.T, n int) []byte {
	b := makeZip(t, entry{"0", zip.Store, make([]byte, 4096)})
	directory := bytes.Index(b, []byte("PK\x01\x02"))
	end := bytes.Index(b, []byte("PK\x05\x06"))
	out := bytes.Clone(b[:directory])
	for i := range n {
		record := bytes.Clone(b[directory:end])
		record[46] = byte('0' + i) // the name
		out = append(out, record...)
	}
	trailer := bytes.Clone(b[end:])
	binary.LittleEndian.PutUint16(trailer[8:], uint16(n))
	binary.LittleEndian.PutUint16(trailer[10:], uint16(n))
	binary.LittleEndian.PutUint32(trailer[12:], uint32(n*(end-directory)))
	return append(out, trailer...)
}

// claiming is a zip whose compressed entries claim to unpack to the sizes.
func claiming(t *testing.T, sizes ...uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i, size := range sizes {
		header := &zip.FileHeader{Name: fmt.Sprint(i), Method: zip.Deflate, UncompressedSize64: size, CompressedSize64: 1}
		w, err := z.CreateRaw(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want string // in the error; empty for none
	}{
		{"stored", makeZip(t, entry{"a", zip.Store, make([]byte, 1000)}, entry{"b", zip.Store, nil}), ""},
		{"compressed", makeZip(t, entry{"a", zip.Deflate, make([]byte, 1<<20)}), ""},
		{"one name twice", makeZip(t, entry{"a", zip.Store, nil}, entry{"a", zip.Store, nil}), `two entries are named "a"`},
		{"empty file", nil, "truncated at byte 0"},
		{"no zip", []byte("hello"), "truncated at byte 5, or not a zip"},
		{"overlapping", overlapping(t, 9), `entry "1": its 4096 bytes are too many`},
		{"not overlapping", overlapping(t, 1), ""},
		{"free", claiming(t, freeExpansion), ""},
		{"bomb", claiming(t, freeExpansion, 1), `entry "1": its 1 bytes are too many`},
		{"overflow", claiming(t, 1<<63, 1<<63, 1), `entry "0": its 9223372036854775808 bytes are too many`},
	} {
		_, err := Open(bytes.NewReader(c.data), int64(len(c.data)))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestBytes(t *testing.T) {
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		content := []byte("some content, some content, some content")
		data := makeZip(t, entry{"a", method, content})
		read := func(data []byte, want int64) ([]byte, error) {
			z, err := Open(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				return nil, err
			}
			return Bytes(z.File[0], want)
		}
		if got, err := read(data, int64(len(content))); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("got %q, %v", got, err)
		}
		if _, err := read(data, 7); err == nil || !strings.Contains(err.Error(), "40 bytes, not 7") {
			t.Errorf("another size: %v", err)
		}
		data[31+5] ^= 4
		if _, err := read(data, int64(len(content))); err == nil || !strings.Contains(err.Error(), `entry "a" at byte 31`) {
			t.Errorf("a flipped bit: %v", err)
		}
	}
}

func TestReadLeftovers(t *testing.T) {
	data := makeZip(t, entry{"a", zip.Store, make([]byte, 10)})
	z, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	err = Read(z.File[0], func(r io.Reader, size int64) error {
		_, err := io.CopyN(io.Discard, r, size-1)
		return err
	})
	if err == nil {
		t.Error("an unread byte was not detected")
	}
	failure := fmt.Errorf("no")
	if err := Read(z.File[0], func(io.Reader, int64) error { return failure }); err == nil {
		t.Error("the reader's own failure was lost")
	}
}
