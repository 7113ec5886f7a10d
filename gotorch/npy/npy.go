package npy

import (
	"fmt"
	"io"
	"slices"

	"github.com/wangkuiyi/gotorch/internal/atomicfile"
	"github.com/wangkuiyi/gotorch/internal/strided"
	"github.com/wangkuiyi/gotorch/regularfile"
)

// ReadFile reads a .npy file.
func ReadFile(path string) (*Array, error) {
	f, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	a, err := readSized(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// Read reads one array, and no byte beyond it. It allocates memory as the data arrives,
// not by the size that the header claims.
func Read(r io.Reader) (*Array, error) {
	h, _, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	data, err := readGrowing(r, h.size)
	if err != nil {
		return nil, err
	}
	return h.array(data), nil
}

// readSized reads an array that must have exactly size bytes.
func readSized(r io.Reader, size int64) (*Array, error) {
	h, read, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	switch left := size - read; {
	case left < h.size:
		return nil, fmt.Errorf("truncated at byte %d: the shape %v of %v needs %d more", size, h.shape, h.dtype, h.size-left)
	case left > h.size:
		return nil, fmt.Errorf("%d bytes follow the array", left-h.size)
	}
	data := make([]byte, h.size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, unexpected(err)
	}
	return h.array(data), nil
}

// readGrowing reads size bytes without allocating much more than the reader has.
func readGrowing(r io.Reader, size int64) ([]byte, error) {
	const step = 1 << 20
	data := make([]byte, 0, min(size, step))
	for int64(len(data)) < size {
		have := len(data)
		want := int(min(size-int64(have), max(step, int64(have))))
		data = slices.Grow(data, want)[:have+want]
		if _, err := io.ReadFull(r, data[have:]); err != nil {
			return nil, fmt.Errorf("truncated: %w", unexpected(err))
		}
	}
	return data, nil
}

// array converts a file's data to little-endian C order.
func (h header) array(data []byte) *Array {
	item := h.dtype.Size()
	if h.bigEndian && item > 1 {
		for element := range slices.Chunk(data, int(item)) {
			slices.Reverse(element)
		}
	}
	a := &Array{DType: h.dtype, Shape: h.shape, Data: data}
	if h.fortran && len(h.shape) > 1 && len(data) > 0 {
		a.Data = make([]byte, len(data))
		strided.Gather(a.Data, data, item, h.shape, fortranStrides(h.shape))
	}
	return a
}

func fortranStrides(shape []int64) []int64 {
	strides, step := make([]int64, len(shape)), int64(1)
	for i, d := range shape {
		strides[i] = step
		step *= d
	}
	return strides
}

// Write writes a as a .npy file, as numpy.save does.
func Write(w io.Writer, a *Array) error {
	if err := a.check(); err != nil {
		return err
	}
	if _, err := w.Write(appendHeader(nil, a)); err != nil {
		return err
	}
	_, err := w.Write(a.Data)
	return err
}

// WriteFile writes a .npy file atomically.
func WriteFile(path string, a *Array) error {
	return atomicfile.Write(path, func(w io.Writer) error { return Write(w, a) })
}
