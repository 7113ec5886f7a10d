package pt

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/wangkuiyi/gotorch/internal/atomicfile"
	"github.com/wangkuiyi/gotorch/internal/strided"
	"github.com/wangkuiyi/gotorch/pickle"
)

// WriteFile writes v as torch.save(v, path) does, atomically: to a temporary file that
// is synced to the disk and then renamed.
func WriteFile(path string, v any) error {
	err := atomicfile.Write(path, func(w io.Writer) error { return Write(w, v) })
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return nil
}

// Write writes v as torch.save does, for torch.load(weights_only=True) and Read. The
// package comment lists the supported types; int is supported, too. A value that cannot
// be written is an error before the first byte, with its path in v. Tensors' Data is
// written without a copy.
func Write(w io.Writer, v any) error {
	p := pickler{keys: map[slice]int{}}
	if err := p.whole(v); err != nil {
		return fmt.Errorf("torch.save: %w", err)
	}
	a := archive{below: &counter{w: w}}
	a.zip = zip.NewWriter(a.below)
	a.entry("data.pkl", p.out.Bytes())
	a.entry(".format_version", []byte("1"))
	a.entry(".storage_alignment", []byte(strconv.Itoa(alignment)))
	a.entry("byteorder", []byte("little"))
	for i, data := range p.storages {
		a.entry("data/"+strconv.Itoa(i), data)
	}
	a.entry("version", []byte("3\n"))
	if a.err != nil {
		return a.err
	}
	return a.zip.Close()
}

// alignment of each entry's data in the file, as in torch.save, so that a file can be
// mapped into memory.
const alignment = 64

// archive writes the entries of the zip.
type archive struct {
	zip   *zip.Writer
	below *counter
	trail int64 // bytes that the zip writer will still write for the last entry
	err   error
}

// counter counts the bytes that the zip writer has written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (a *archive) entry(name string, data []byte) {
	if a.err != nil {
		return
	}
	if a.err = a.zip.Flush(); a.err != nil {
		return
	}
	h := &zip.FileHeader{Name: "archive/" + name, Method: zip.Store}
	h.Extra = padding(a.below.n + a.trail + 30 + int64(len(h.Name)))
	var w io.Writer
	if w, a.err = a.zip.CreateHeader(h); a.err != nil {
		return
	}
	_, a.err = w.Write(data)
	// The zip writer puts the checksum and the sizes after the data, but only when
	// the next entry begins: 4 numbers, two of them wider from 4 GiB on.
	a.trail = 16
	if len(data) >= math.MaxUint32 {
		a.trail = 24
	}
}

// padding returns a zip extra field that moves data from byte start to the next multiple
// of the alignment. PyTorch uses the same two letters for it.
func padding(start int64) []byte {
	n := -(start + 4) % alignment
	if n < 0 {
		n += alignment
	}
	return append([]byte{'F', 'B', byte(n), 0}, make([]byte, n)...)
}

// slice identifies a tensor's data.
type slice struct {
	at    *byte
	size  int
	dtype DType // PyTorch rejects a storage of two types
}

// pickler writes pickles of protocol 2, which every PyTorch reads. It uses no memo: an
// object that occurs twice in v is written twice, except storages of tensors.
type pickler struct {
	out      bytes.Buffer
	keys     map[slice]int // the storages' numbers
	storages [][]byte
}

// whole pickles v and reads the result back, so that no file is written that Read would
// reject.
func (p *pickler) whole(v any) error {
	p.out.WriteString("\x80\x02")
	if err := p.value(v, 0); err != nil {
		return err
	}
	p.out.WriteByte('.')
	back, _, err := readPickle(bytes.NewReader(p.out.Bytes()), int64(p.out.Len()))
	if err == nil {
		_, _, err = finish(back)
	}
	return err
}

func (p *pickler) value(v any, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	switch v := v.(type) {
	case nil:
		p.out.WriteByte('N')
	case bool:
		p.out.WriteByte(map[bool]byte{true: 0x88, false: 0x89}[v])
	case int:
		p.int(int64(v))
	case int64:
		p.int(v)
	case float64:
		p.out.WriteByte('G')
		p.bytes(binary.BigEndian.AppendUint64(nil, math.Float64bits(v)))
	case string:
		return p.string(v)
	case DType:
		return p.dtype(v)
	case []any:
		return p.list(v, depth)
	case Tuple:
		return p.tuple(v, depth)
	case *Dict:
		return p.dict(v, depth)
	case *Tensor:
		return p.tensor(v)
	default:
		return fmt.Errorf("a %T cannot be written", v)
	}
	return nil
}

func (p *pickler) bytes(b []byte) { p.out.Write(b) }

func (p *pickler) int(v int64) {
	if v == int64(int32(v)) {
		p.out.WriteByte('J')
		p.bytes(binary.LittleEndian.AppendUint32(nil, uint32(v)))
		return
	}
	p.out.WriteString("\x8a\x08")
	p.bytes(binary.LittleEndian.AppendUint64(nil, uint64(v)))
}

func (p *pickler) string(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("the string %.40q is not UTF-8", s)
	}
	if len(s) > pickle.MaxLength {
		return fmt.Errorf("a string of %d bytes is longer than %d", len(s), pickle.MaxLength)
	}
	p.out.WriteByte('X')
	p.bytes(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	p.out.WriteString(s)
	return nil
}

func (p *pickler) dtype(d DType) error {
	if !d.valid() {
		return fmt.Errorf("%v is no type", d)
	}
	p.global("torch", d.String())
	return nil
}

func (p *pickler) global(module, name string) {
	p.out.WriteString("c" + module + "\n" + name + "\n")
}

func (p *pickler) list(items []any, depth int) error {
	p.out.WriteString("](")
	if err := p.items(items, depth); err != nil {
		return err
	}
	p.out.WriteByte('e')
	return nil
}

func (p *pickler) tuple(items Tuple, depth int) error {
	p.out.WriteByte('(')
	if err := p.items(items, depth); err != nil {
		return err
	}
	p.out.WriteByte('t')
	return nil
}

func (p *pickler) items(items []any, depth int) error {
	for i, item := range items {
		if err := p.value(item, depth+1); err != nil {
			return within(fmt.Sprintf("[%d]", i), err)
		}
	}
	return nil
}

func (p *pickler) dict(d *Dict, depth int) error {
	if d == nil {
		return errors.New("a nil *Dict cannot be written")
	}
	if d.Ordered {
		p.global("collections", "OrderedDict")
		p.out.WriteString(")R(")
	} else {
		p.out.WriteString("}(")
	}
	for key, value := range d.All() {
		if !pickle.IsKey(key) {
			return fmt.Errorf("a %T cannot be a key", key)
		}
		err := p.value(key, depth+1)
		if err == nil {
			err = p.value(value, depth+1)
		}
		if err != nil {
			return within(fmt.Sprintf("[%q]", fmt.Sprint(key)), err)
		}
	}
	p.out.WriteByte('u')
	return nil
}

func (p *pickler) tensor(t *Tensor) error {
	if t == nil {
		return errors.New("a nil *Tensor cannot be written")
	}
	if err := t.Check(); err != nil {
		return err
	}
	p.global("torch._utils", "_rebuild_tensor_v2")
	p.out.WriteString("((")
	_ = p.string("storage") // these strings are UTF-8
	p.global("torch", dtypes[t.DType].storage)
	_ = p.string(strconv.Itoa(p.storage(t)))
	_ = p.string("cpu")
	p.int(int64(len(t.Data)) / t.DType.Size())
	p.out.WriteString("tQ")
	p.int(0) // the offset
	p.ints(t.Shape)
	p.ints(strided.Contiguous(t.Shape))
	p.out.WriteByte(0x89) // requires_grad
	p.global("collections", "OrderedDict")
	p.out.WriteString(")RtR") // no hooks
	return nil
}

func (p *pickler) ints(values []int64) {
	p.out.WriteByte('(')
	for _, v := range values {
		p.int(v)
	}
	p.out.WriteByte('t')
}

// storage returns the number of the tensor's storage.
func (p *pickler) storage(t *Tensor) int {
	id := slice{unsafe.SliceData(t.Data), len(t.Data), t.DType}
	if n, ok := p.keys[id]; ok && id.size > 0 {
		return n
	}
	n := len(p.storages)
	p.keys[id] = n
	p.storages = append(p.storages, t.Data)
	return n
}

// placed is an error with the path to the part of the value that caused it.
type placed struct {
	path string
	err  error
}

func (e *placed) Error() string { return "at " + e.path + ": " + e.err.Error() }
func (e *placed) Unwrap() error { return e.err }

func within(step string, err error) error {
	if inner, ok := err.(*placed); ok {
		return &placed{step + inner.path, inner.err}
	}
	return &placed{step, err}
}
