package npy

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wangkuiyi/gotorch/internal/atomicfile"
	"github.com/wangkuiyi/gotorch/internal/safezip"
	"github.com/wangkuiyi/gotorch/regularfile"
)

// NPZ is an open .npz file.
type NPZ struct {
	zip    *zip.Reader
	closer io.Closer
	path   string
}

// OpenNPZ opens a .npz file of numpy.savez or numpy.savez_compressed. A compressed file
// that unpacks to more than 256 MiB and more than a hundred times its size is an error.
// The caller closes it.
func OpenNPZ(path string) (*NPZ, error) {
	f, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	z, err := NewNPZ(f, info.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	z.path, z.closer = path+": ", f
	return z, nil
}

// NewNPZ is OpenNPZ on size bytes of r. It need not be closed.
func NewNPZ(r io.ReaderAt, size int64) (*NPZ, error) {
	z, err := safezip.Open(r, size)
	if err != nil {
		return nil, fmt.Errorf("not a .npz file: %w", err)
	}
	seen := map[string]bool{}
	for _, f := range z.File {
		// The zip may contain both "x" and "x.npy".
		name := strings.TrimSuffix(f.Name, ".npy")
		if seen[name] {
			return nil, fmt.Errorf("two arrays are named %q", name)
		}
		seen[name] = true
	}
	return &NPZ{zip: z}, nil
}

// Close closes the file.
func (z *NPZ) Close() error {
	if z.closer == nil {
		return nil
	}
	return z.closer.Close()
}

// Names returns the names of the arrays in the file's order, without ".npy", as the
// attribute files of numpy.load's result.
func (z *NPZ) Names() []string {
	names := make([]string, len(z.zip.File))
	for i, f := range z.zip.File {
		names[i] = strings.TrimSuffix(f.Name, ".npy")
	}
	return names
}

// Read reads the array of that name and verifies the zip's checksum.
func (z *NPZ) Read(name string) (*Array, error) {
	for _, f := range z.zip.File {
		if strings.TrimSuffix(f.Name, ".npy") != name {
			continue
		}
		var a *Array
		err := safezip.Read(f, func(r io.Reader, size int64) (err error) {
			a, err = readSized(r, size)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%s%w", z.path, err)
		}
		return a, nil
	}
	return nil, fmt.Errorf("%sno array %q, only %q", z.path, name, z.Names())
}

// ReadNPZ reads all arrays of a .npz file. OpenNPZ can read some of them.
func ReadNPZ(path string) (map[string]*Array, error) {
	z, err := OpenNPZ(path)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	arrays := map[string]*Array{}
	for _, name := range z.Names() {
		if arrays[name], err = z.Read(name); err != nil {
			return nil, err
		}
	}
	return arrays, nil
}

// Named is an array and its name in a .npz.
type Named struct {
	Name string // empty: "arr_" and the position, as for positional arguments of numpy.savez
	*Array
}

// WriteNPZ writes the arrays uncompressed, as numpy.savez does.
func WriteNPZ(w io.Writer, arrays ...Named) error {
	z := zip.NewWriter(w)
	seen := map[string]bool{}
	for i, a := range arrays {
		name := a.Name
		if name == "" {
			name = fmt.Sprintf("arr_%d", i)
		}
		if seen[name] {
			return fmt.Errorf("npy: two arrays are named %q", name)
		}
		seen[name] = true
		entry, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if err := Write(entry, a.Array); err != nil {
			return fmt.Errorf("array %q: %w", name, err)
		}
	}
	return z.Close()
}

// WriteNPZFile writes a .npz file atomically.
func WriteNPZFile(path string, arrays ...Named) error {
	return atomicfile.Write(path, func(w io.Writer) error { return WriteNPZ(w, arrays...) })
}
