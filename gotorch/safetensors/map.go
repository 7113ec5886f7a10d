package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/wangkuiyi/gotorch/regularfile"
)

// Mapped is a file whose tensors' Data is the file itself, mapped into memory: opening it reads
// the header alone, and pages are read when they are used and shared with other processes.
// Nothing may write to Data. A program that truncates the file while it is mapped ends this one
// (SIGBUS), as with every mapped file; writers that replace files by renaming do no harm.
type Mapped struct {
	File
	memory []byte
}

// Map opens a file. Its tensors are valid until Close; without Close they are for the life of the
// process.
func Map(path string) (*Mapped, error) {
	f, err := regularfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	defer f.Close() // the mapping remains
	stat, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	m := new(Mapped)
	if stat.Size() > 0 { // mapping nothing is an error of the system
		if m.memory, err = syscall.Mmap(int(f.Fd()), 0, int(stat.Size()), syscall.PROT_READ, syscall.MAP_PRIVATE); err != nil {
			return nil, fmt.Errorf("safetensors: cannot map %s into memory: %w", path, err)
		}
	}
	file, err := Parse(m.memory)
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("safetensors %s: %w", path, err)
	}
	m.File = *file
	return m, nil
}

// Close unmaps the file. Its tensors must not be used afterwards.
func (m *Mapped) Close() error {
	memory := m.memory
	m.memory, m.File = nil, File{}
	if memory == nil {
		return nil
	}
	return syscall.Munmap(memory)
}

// Parse reads a file in memory. The tensors' Data are slices of b.
func Parse(b []byte) (*File, error) {
	r := bytes.NewReader(b)
	file, entries, total, err := readHeader(r, r.Size())
	if err != nil {
		return nil, err
	}
	file.fill(entries, b[int64(len(b))-total:])
	return file, nil
}

// Begins reports whether bytes may be the first of a file in this format: a plausible length,
// and the beginning of a JSON object.
func Begins(start []byte) bool {
	return len(start) > 8 && binary.LittleEndian.Uint64(start) <= maxHeader && start[8] == '{'
}
