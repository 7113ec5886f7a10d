package pt

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wangkuiyi/gotorch/internal/safezip"
	"github.com/wangkuiyi/gotorch/pickle"
	"github.com/wangkuiyi/gotorch/regularfile"
)

// ReadFile reads a file of torch.save.
func ReadFile(path string) (any, error) {
	f, err := regularfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	v, err := Read(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return v, nil
}

// Read reads a file of torch.save from the first size bytes of r. Tensors share the
// memory of their storages; only a tensor that is not contiguous is copied.
func Read(r io.ReaderAt, size int64) (any, error) {
	start := make([]byte, min(size, 32))
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), start); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(start, []byte("PK\x03\x04")) {
		return readZip(r, size)
	}
	if n := legacyMagic(start); n > 0 {
		return readLegacy(r, size, n)
	}
	if size < int64(len("PK\x03\x04")) {
		return nil, fmt.Errorf("truncated at byte %d: too short to detect the format", size)
	}
	return nil, fmt.Errorf("not a file of torch.save: it begins with %.16q, not as a zip or as the format before PyTorch 1.6", start)
}

// readZip reads the format since PyTorch 1.6.
func readZip(r io.ReaderAt, size int64) (any, error) {
	z, err := safezip.Open(r, size)
	if err != nil {
		return nil, err
	}
	entries := map[string]*zip.File{}
	var folder string
	for _, f := range z.File {
		entries[f.Name] = f
		if name, ok := strings.CutSuffix(f.Name, "data.pkl"); ok && strings.Count(name, "/") == 1 {
			folder = name
		}
	}
	if folder == "" {
		return nil, errors.New("not a file of torch.save: the zip has no FOLDER/data.pkl")
	}
	if entries[folder+"constants.pkl"] != nil {
		return nil, errors.New("a TorchScript program, not a file of torch.save; save its state_dict() instead")
	}
	if err := checkByteOrder(entries[folder+"byteorder"]); err != nil {
		return nil, err
	}
	var v any
	var s storages
	err = safezip.Read(entries[folder+"data.pkl"], func(r io.Reader, size int64) (err error) {
		v, s, err = readPickle(r, size)
		return err
	})
	if err != nil {
		return nil, err
	}
	return load(v, size, func() error { return s.readZip(entries, folder) })
}

// errBigEndian reports a file of a big-endian machine, which is not supported.
var errBigEndian = errors.New("its tensors are not little-endian but big-endian, which is not supported; save it again on another machine")

// checkByteOrder reads the entry that PyTorch writes since 2.1.
func checkByteOrder(f *zip.File) error {
	const little, big = "little", "big"
	if f == nil {
		return nil
	}
	if f.UncompressedSize64 == uint64(len(big)) {
		return errBigEndian
	}
	order, err := safezip.Bytes(f, int64(len(little)))
	if err == nil && string(order) != little {
		return fmt.Errorf("its byte order is %q, which is unknown", order)
	}
	return err
}

// readPickle reads a pickle of exactly size bytes.
func readPickle(r io.Reader, size int64) (any, storages, error) {
	s := storages{byKey: map[string]*storage{}}
	v, n, err := unpickle(r, size, s.persistent)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes follow the pickle", size-n)
	}
	return v, s, err
}

// load finishes an unpickled object: readStorages reads the data of its storages.
func load(v any, size int64, readStorages func() error) (any, error) {
	v, views, err := finish(v)
	if err != nil {
		return nil, err
	}
	// A tensor whose strides repeat elements may be larger than its storage.
	left := max(64<<20, 4*size)
	for _, v := range views {
		if v.contiguous() {
			continue
		}
		if left -= v.size(); left < 0 {
			return nil, fmt.Errorf("its tensors would need more than four times the file's %d bytes; save them contiguous", size)
		}
	}
	if err := readStorages(); err != nil {
		return nil, err
	}
	for _, v := range views {
		v.fill()
	}
	return v, nil
}

func (s *storages) readZip(entries map[string]*zip.File, folder string) error {
	for _, st := range s.order {
		name := folder + "data/" + st.key
		entry := entries[name]
		if entry == nil {
			return fmt.Errorf("the zip has no entry %q, which the pickle names", name)
		}
		var err error
		if st.data, err = safezip.Bytes(entry, st.size); err != nil {
			return err
		}
	}
	return nil
}

// legacyMagic returns the length of the pickled magic number at the start of the format
// before PyTorch 1.6, 0 if it is absent. Only this integer needs more than 64 bits.
func legacyMagic(start []byte) int64 {
	const number = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
	for _, begin := range []string{"\x80\x02", "\x80\x03", "\x80\x04\x95\x0d\x00\x00\x00\x00\x00\x00\x00", "\x80\x05\x95\x0d\x00\x00\x00\x00\x00\x00\x00"} {
		if bytes.HasPrefix(start, []byte(begin+number)) {
			return int64(len(begin) + len(number))
		}
	}
	return 0
}

// legacy reads the parts of an old file one after the other.
type legacy struct {
	r         io.ReaderAt
	pos, size int64
}

func readLegacy(r io.ReaderAt, size, pos int64) (any, error) {
	f := &legacy{r: r, pos: pos, size: size}
	protocol, err := f.pickle(nil)
	if err != nil {
		return nil, err
	}
	if protocol != int64(1001) {
		return nil, fmt.Errorf("version %v of the format before PyTorch 1.6 is not supported, only 1001", protocol)
	}
	machine, err := f.pickle(nil)
	if err != nil {
		return nil, err
	}
	if d, ok := machine.(*Dict); ok {
		if little, ok := d.Get("little_endian"); ok && little != true {
			return nil, errBigEndian
		}
	}
	s := storages{byKey: map[string]*storage{}}
	v, err := f.pickle(s.persistent)
	if err != nil {
		return nil, err
	}
	return load(v, size, func() error { return f.storages(s) })
}

// pickle reads the next part.
func (f *legacy) pickle(persistent func([]any) (any, error)) (any, error) {
	if persistent == nil {
		persistent = func([]any) (any, error) { return nil, errors.New("a storage is out of place") }
	}
	left := f.size - f.pos
	v, n, err := unpickle(io.NewSectionReader(f.r, f.pos, left), left, persistent)
	switch {
	case errors.Is(err, pickle.ErrTruncated):
		return nil, fmt.Errorf("truncated at byte %d: %w", f.size, err)
	case err != nil:
		return nil, fmt.Errorf("at byte %d: %w", f.pos, err)
	}
	f.pos += n
	return v, nil
}

// storages reads the list of keys and the data of the storages.
func (f *legacy) storages(s storages) error {
	v, err := f.pickle(nil)
	if err != nil {
		return err
	}
	keys, ok := v.(*list)
	if !ok {
		return errors.New("the storages' keys are not a list")
	}
	for _, key := range keys.Items {
		name, ok := key.(string)
		st := s.byKey[name]
		if !ok || st == nil || st.data != nil {
			return fmt.Errorf("storage %.40q is unknown, or occurs twice", fmt.Sprint(key))
		}
		if err := f.storage(st); err != nil {
			return fmt.Errorf("storage %q: %w", name, err)
		}
	}
	for _, st := range s.order {
		if st.data == nil {
			return fmt.Errorf("storage %q is missing", st.key)
		}
	}
	return nil
}

func (f *legacy) storage(st *storage) error {
	left := f.size - f.pos - 8
	if left < st.size {
		return fmt.Errorf("truncated at byte %d: %d more bytes are needed", f.size, st.size-left)
	}
	var count [8]byte
	if _, err := f.r.ReadAt(count[:], f.pos); err != nil {
		return err
	}
	if n := int64(binary.LittleEndian.Uint64(count[:])); n != st.count {
		return fmt.Errorf("at byte %d it has %d elements, but %d in the pickle", f.pos, n, st.count)
	}
	st.data = make([]byte, st.size)
	if _, err := io.ReadFull(io.NewSectionReader(f.r, f.pos+8, st.size), st.data); err != nil {
		return err
	}
	f.pos += 8 + st.size
	return nil
}
