// Package safezip opens zip files from untrusted sources.
package safezip

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
)

// A zip's compressed entries may unpack to the larger of freeExpansion bytes and
// maxExpansion times its size. Deflate reaches a factor of 1032, but only for zip
// bombs and constant data.
const (
	freeExpansion = 256 << 20
	maxExpansion  = 100
)

// Open opens the zip in the first size bytes of r. It rejects two entries of one
// name, stored entries whose sizes exceed the file's (so they overlap), and
// compressed entries that would unpack to an excessive size. So it is safe to
// allocate the sizes that the entries claim.
func Open(r io.ReaderAt, size int64) (*zip.Reader, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("truncated at byte %d, or not a zip: %w", size, err)
	}
	seen := make(map[string]bool, len(z.File))
	stored, unpacked := uint64(size), uint64(max(freeExpansion, size*maxExpansion))
	for _, f := range z.File {
		if seen[f.Name] {
			return nil, fmt.Errorf("two entries are named %q", f.Name)
		}
		seen[f.Name] = true
		left := &unpacked
		if f.Method == zip.Store {
			left = &stored
		}
		if f.UncompressedSize64 > *left {
			return nil, fmt.Errorf("entry %q: its %d bytes are too many for a zip of %d", f.Name, f.UncompressedSize64, size)
		}
		*left -= f.UncompressedSize64
	}
	return z, nil
}

// Read calls read with the entry's content, and then checks that read consumed all of
// it and that the checksum is correct.
func Read(f *zip.File, read func(r io.Reader, size int64) error) error {
	r, err := f.Open()
	if err != nil {
		return where(f, err)
	}
	defer r.Close()
	if err := read(r, int64(f.UncompressedSize64)); err != nil {
		return where(f, err)
	}
	// The zip reader compares checksums at the end of the entry.
	switch n, err := r.Read(make([]byte, 1)); {
	case n != 0:
		return where(f, errors.New("it is longer than the zip's directory says"))
	case errors.Is(err, io.EOF):
		return nil
	default:
		return where(f, err)
	}
}

// Bytes returns the entry's content, or an error if its size is not want.
func Bytes(f *zip.File, want int64) ([]byte, error) {
	if f.UncompressedSize64 != uint64(want) {
		return nil, where(f, fmt.Errorf("it has %d bytes, not %d", f.UncompressedSize64, want))
	}
	data := make([]byte, want)
	err := Read(f, func(r io.Reader, _ int64) error {
		_, err := io.ReadFull(r, data)
		return err
	})
	return data, err
}

// where adds the entry's name and its offset in the file to an error.
func where(f *zip.File, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if offset, e := f.DataOffset(); e == nil {
		return fmt.Errorf("entry %q at byte %d: %w", f.Name, offset, err)
	}
	return fmt.Errorf("entry %q: %w", f.Name, err)
}
