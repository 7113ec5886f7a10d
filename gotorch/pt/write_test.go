package pt

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func written(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// checkpoint has every type of the program's own files.
func checkpoint() *Dict {
	model := &Dict{Ordered: true}
	model.Set("w", tensor([]int64{2, 3}, upTo(6)...))
	model.Set("b", tensor([]int64{}, 1))
	model.Set("none", tensor([]int64{0, 4}))
	for d := Float32; d <= Bool; d++ {
		model.Set(d.String(), &Tensor{d, []int64{2, 1}, make([]byte, 2*d.Size())})
	}
	state := &Dict{}
	state.Set(0, tensor([]int64{1}, 5))
	d := &Dict{}
	d.Set("format", int64(1))
	d.Set("model", model)
	d.Set("optimizer", state)
	d.Set("objects", objects())
	return d
}

func TestRoundTrip(t *testing.T) {
	for _, v := range []any{
		checkpoint(), nil, "text", int64(math.MinInt64), 0.5, true, Tuple{}, []any{}, tensor([]int64{1}, 2), Int16,
	} {
		got, err := readBytes(written(t, v))
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("wrote %v, read %v (%v)", v, got, err)
		}
	}
	path := filepath.Join(t.TempDir(), "ckpt.pt")
	if err := WriteFile(path, checkpoint()); err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, path); !reflect.DeepEqual(got, checkpoint()) {
		t.Errorf("read %v", got)
	}
}

func TestGoldenRoundTrip(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(golden, "*", "model*.pt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden models: %v", err)
	}
	for _, path := range paths {
		want := mustRead(t, path)
		got, err := readBytes(written(t, want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is not what it was after a round trip (%v)", path, err)
		}
	}
}

// TestWriteAlignment checks that the data of every entry begins at a multiple of 64 bytes,
// for any name and any size of the previous entry.
func TestWriteAlignment(t *testing.T) {
	var items []any
	for n := range 130 {
		items = append(items, &Tensor{Uint8, []int64{int64(n)}, make([]byte, n)})
	}
	b := written(t, items)
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		if at, err := f.DataOffset(); err != nil || at%alignment != 0 || f.Method != zip.Store {
			t.Errorf("%s begins at byte %d (%v), method %d", f.Name, at, err, f.Method)
		}
	}
}

func TestWriteSharesStorages(t *testing.T) {
	data := make([]byte, 1<<20)
	one, two := &Tensor{Uint8, []int64{1 << 20}, data}, &Tensor{Uint8, []int64{1 << 10, 1 << 10}, data}
	same := &Tensor{Int8, []int64{1 << 20}, data} // another type needs another storage
	if n := len(written(t, []any{one, two, one})); n > 1<<20+5000 {
		t.Errorf("%d bytes for one storage", n)
	}
	got, err := readBytes(written(t, []any{one, two, same}))
	if err != nil || !reflect.DeepEqual(got, []any{one, two, same}) {
		t.Errorf("the round trip changed them (%v)", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	nest := func(depth int) any {
		v := any(nil)
		for range depth {
			v = []any{v}
		}
		return v
	}
	cycle := &Dict{}
	cycle.Set("self", cycle)
	within := &Dict{}
	within.Set("model", []any{nil, &Tensor{Float32, []int64{2}, nil}})
	for _, c := range []struct {
		name string
		v    any
		want string
	}{
		{"type", float32(1), "a float32 cannot be written"},
		{"struct", struct{}{}, "a struct {} cannot be written"},
		{"misshapen", within, `at ["model"][1]: 0 bytes of data do not fill the shape [2] of float32`},
		{"negative shape", &Tensor{Float32, []int64{-1}, nil}, "shape [-1]"},
		{"no dtype", &Tensor{}, "DType(0)"},
		{"nil tensor", (*Tensor)(nil), "nil *Tensor"},
		{"nil dict", (*Dict)(nil), "nil *Dict"},
		{"text", "\xff", "not UTF-8"},
		{"dtype", DType(77), "DType(77) is no type"},
		{"cycle", cycle, "nested more than 100 deep"},
		{"depth", nest(200), "nested more than 100 deep"},
	} {
		var b bytes.Buffer
		err := Write(&b, c.v)
		if err == nil || !strings.Contains(err.Error(), c.want) || b.Len() > 0 {
			t.Errorf("%s: got %v after %d bytes, want %q", c.name, err, b.Len(), c.want)
		}
	}
	if err := Write(io.Discard, nest(90)); err != nil {
		t.Errorf("90 lists in one another: %v", err)
	}
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestMemory checks that reading a file allocates its size, and writing almost nothing.
func TestMemory(t *testing.T) {
	const size, slack = 32 << 20, 1 << 20
	d := &Dict{}
	for i := range 8 {
		d.Set(i, &Tensor{Float32, []int64{size / 32}, make([]byte, size/8)})
	}
	path := filepath.Join(t.TempDir(), "x.pt")
	if n := allocated(func() {
		if err := WriteFile(path, d); err != nil {
			t.Fatal(err)
		}
	}); n > slack {
		t.Errorf("writing %d bytes allocated %d", size, n)
	}
	if n := allocated(func() { mustRead(t, path) }); n > size+slack {
		t.Errorf("reading %d bytes allocated %d", size, n)
	}
}

// full is a disk with space for some bytes.
type full struct{ room int }

var errFull = errors.New("no space left")

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWriteFailure(t *testing.T) {
	size := len(written(t, checkpoint()))
	for room := 0; room < size; room += 13 {
		if err := Write(&full{room}, checkpoint()); !errors.Is(err, errFull) {
			t.Fatalf("with room for %d of %d bytes: %v", room, size, err)
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x.pt")
	if err := WriteFile(path, float32(1)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%d files left behind (%v)", len(entries), err)
	}
}

func TestDict(t *testing.T) {
	var d Dict
	if _, ok := d.Get("a"); ok || d.Len() != 0 {
		t.Error("an empty dict has a key")
	}
	d.Set("b", 1)
	d.Set(3, 2)
	d.Set("b", 4)
	if v, ok := d.Get("b"); !ok || v != 4 {
		t.Errorf("b is %v", v)
	}
	if v, ok := d.Get(int64(3)); !ok || v != 2 {
		t.Errorf("3 is %v", v)
	}
	if !reflect.DeepEqual(d.Keys(), []any{"b", int64(3)}) {
		t.Errorf("keys %v", d.Keys())
	}
	for key, value := range d.All() {
		if key != "b" || value != 4 {
			t.Errorf("first %v: %v", key, value)
		}
		break
	}
}
