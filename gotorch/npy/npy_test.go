package npy

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// golden is the folder of arrays that the reference implementation wrote.
const golden = "../../testdata/golden"

func upTo(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(i)
	}
	return out
}

// TestReadFilesOfNumPy reads the files that testdata/make.py wrote with NumPy.
func TestReadFilesOfNumPy(t *testing.T) {
	for _, c := range []struct {
		file  string
		dtype DType
		shape []int64
		want  []float64
	}{
		{"c_int64", Int64, []int64{2, 3, 4}, upTo(24)},
		{"fortran_float32", Float32, []int64{2, 3, 4}, upTo(24)},
		{"big_endian_int16", Int16, []int64{2, 3, 4}, upTo(24)},
		{"big_endian_fortran_float64", Float64, []int64{2, 3, 4}, upTo(24)},
		{"version2", Uint8, []int64{2, 3, 4}, upTo(24)},
		{"scalar_uint8", Uint8, []int64{}, []float64{7}},
		{"empty_float32", Float32, []int64{3, 0, 2}, []float64{}},
		{"bool", Bool, []int64{3}, []float64{1, 0, 1}},
		{"uint64", Uint64, []int64{2}, []float64{0, 1 << 64}},
		{"float16", Float16, []int64{10}, []float64{0, math.Copysign(0, -1), 1, -2.5, 65504, 0x1p-24,
			1007 * 0x1p-24, math.Inf(1), math.Inf(-1), math.NaN()}},
	} {
		t.Run(c.file, func(t *testing.T) {
			a, err := ReadFile(filepath.Join("testdata", c.file+".npy"))
			if err != nil {
				t.Fatal(err)
			}
			if a.DType != c.dtype || !slices.Equal(a.Shape, c.shape) {
				t.Fatalf("got %v %v, want %v %v", a.DType, a.Shape, c.dtype, c.shape)
			}
			same := func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y }
			if got := a.Float64s(); !slices.EqualFunc(got, c.want, same) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestRefusedFilesOfNumPy(t *testing.T) {
	for file, want := range map[string]string{
		"objects.npy":    `dtype "|O" is not supported`,
		"complex.npy":    `dtype "<c8" is not supported`,
		"structured.npy": "structured arrays are not supported",
		"make.py":        "not a .npy file",
		"positional.npz": "not a .npy file",
	} {
		_, err := ReadFile(filepath.Join("testdata", file))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got error %v, want one with %q", file, err, want)
		}
	}
}

func TestReadNPZOfNumPy(t *testing.T) {
	z, err := OpenNPZ("testdata/positional.npz")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if got := z.Names(); !slices.Equal(got, []string{"arr_0", "arr_1"}) {
		t.Fatalf("names %q", got)
	}
	if _, err := z.Read("arr_2"); err == nil || !strings.Contains(err.Error(), `"arr_0" "arr_1"`) {
		t.Fatalf("reading a missing array: %v", err)
	}
	arrays, err := ReadNPZ("testdata/compressed.npz")
	if err != nil {
		t.Fatal(err)
	}
	x, err := arrays["x"].Float32s()
	if err != nil || x[23] != 23 || arrays["zeros"].Len() != 1000 {
		t.Fatalf("got %v, %v, %v", x, err, arrays["zeros"])
	}
}

// TestWriteAsNumPyDoes rewrites the reference's arrays: the bytes must equal NumPy's.
func TestWriteAsNumPyDoes(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(golden, "*", "*.npz"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range append(paths, "testdata/positional.npz") {
		z, err := zip.OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			want, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			a, err := Read(bytes.NewReader(want))
			if err != nil {
				t.Fatalf("%s %s: %v", path, f.Name, err)
			}
			var got bytes.Buffer
			if err := Write(&got, a); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Fatalf("%s %s: %v %v is written differently (%v)", path, f.Name, a.DType, a.Shape, err)
			}
		}
	}
}

func TestGoldenSchedule(t *testing.T) {
	arrays, err := ReadNPZ(filepath.Join(golden, "schedule", "linear_1000.npz"))
	if err != nil {
		t.Fatal(err)
	}
	betas := arrays["betas"].Float64s()
	if len(betas) != 1000 || betas[0] != 1e-4 || betas[999] != 0.02 {
		t.Fatalf("%d betas from %g to %g", len(betas), betas[0], betas[len(betas)-1])
	}
}

func roundTrip[T Number](t *testing.T, want DType, values ...T) *Array {
	t.Helper()
	a, err := New(values, int64(len(values)), 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.npy")
	if err := WriteFile(path, a); err != nil {
		t.Fatal(err)
	}
	b, err := ReadFile(path)
	if err != nil || !reflect.DeepEqual(a, b) || b.DType != want {
		t.Fatalf("wrote %+v, read %+v (%v)", a, b, err)
	}
	if got := decode[T](b); !slices.Equal(got, values) {
		t.Fatalf("got %v, want %v", got, values)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	roundTrip(t, Bool, true, false)
	roundTrip[int8](t, Int8, -128, 127)
	roundTrip[uint8](t, Uint8, 0, 255)
	roundTrip[int16](t, Int16, math.MinInt16, math.MaxInt16)
	roundTrip[uint16](t, Uint16, 0, math.MaxUint16)
	roundTrip[int32](t, Int32, math.MinInt32, math.MaxInt32)
	roundTrip[uint32](t, Uint32, 0, math.MaxUint32)
	roundTrip[int64](t, Int64, math.MinInt64, math.MaxInt64)
	roundTrip[uint64](t, Uint64, 0, math.MaxUint64)
	roundTrip[float32](t, Float32, -1, math.MaxFloat32)
	roundTrip(t, Float64, -1, math.MaxFloat64, math.Inf(-1))
}

func TestNPZRoundTrip(t *testing.T) {
	images, _ := New(make([]uint8, 2*4*4*3), 2, 4, 4, 3)
	labels, _ := New([]int64{3, 1})
	path := filepath.Join(t.TempDir(), "samples.npz")
	if err := WriteNPZFile(path, Named{Array: images}, Named{Array: labels}, Named{"t", labels}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadNPZ(path)
	want := map[string]*Array{"arr_0": images, "arr_1": labels, "t": labels}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestTypedAccessors(t *testing.T) {
	for d := Bool; d <= Float64; d++ {
		a := &Array{DType: d, Shape: []int64{2}, Data: make([]byte, 2*d.Size())}
		if got := a.Float64s(); !slices.Equal(got, []float64{0, 0}) {
			t.Errorf("%v: Float64s %v", d, got)
		}
		_, err := a.Float32s()
		if ok := d == Float32 || d == Float16; ok != (err == nil) {
			t.Errorf("%v: Float32s error %v", d, err)
		}
		integers, err := a.Int64s()
		if ok := d != Uint64 && d < Float16; ok != (err == nil) || ok && !slices.Equal(integers, []int64{0, 0}) {
			t.Errorf("%v: Int64s %v, %v", d, integers, err)
		}
		_, err = a.Uint8s()
		if ok := d == Uint8 || d == Bool; ok != (err == nil) {
			t.Errorf("%v: Uint8s error %v", d, err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, a := range []*Array{
		{},
		{DType: Float32, Shape: []int64{2}, Data: make([]byte, 4)},
		{DType: Float32, Shape: []int64{-1}},
		{DType: 99, Shape: []int64{1}, Data: []byte{1}},
	} {
		if err := Write(io.Discard, a); err == nil {
			t.Errorf("%+v was written", a)
		}
	}
	if _, err := New([]int8{1, 2, 3}, 2, 2); err == nil {
		t.Error("3 values were accepted for 2 x 2")
	}
	one := Named{"x", &Array{DType: Bool, Shape: []int64{}, Data: []byte{1}}}
	if err := WriteNPZ(io.Discard, one, one); err == nil {
		t.Error("one name was written twice")
	}
}

// file makes a .npy of version 1 with this header.
func file(header string, data ...byte) []byte {
	b := append([]byte(magic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	return append(append(b, header...), data...)
}

var hostile = map[string][]byte{
	"empty":            {},
	"magic alone":      []byte(magic),
	"version 9":        append([]byte(magic), 9, 0, 0, 0),
	"truncated header": file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }")[:40],
	"truncated data":   file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 1, 2, 3),
	"huge shape":       file("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", 1, 2, 3),
	"overflow":         file("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }"),
	"more than int64":  file("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }"),
	"negative":         file("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"),
	"high rank":        file("{'descr': '<f4', 'fortran_order': False, 'shape': ("+strings.Repeat("1,", 65)+"), }", 1, 2, 3, 4),
	"key twice":        file("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (), }", 1, 2, 3, 4),
	"key missing":      file("{'descr': '<f4', 'fortran_order': False, }", 1, 2, 3, 4),
	"unknown key":      file("{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}", 1, 2, 3, 4),
	"no dict":          file("descr"),
	"open string":      file("{'descr"),
	"text after":       file("{'descr': '<f4', 'fortran_order': False, 'shape': ()} x", 1, 2, 3, 4),
	"not a bool":       file("{'descr': '<f4', 'fortran_order': 0, 'shape': ()}", 1, 2, 3, 4),
	"empty dtype":      file("{'descr': '', 'fortran_order': False, 'shape': ()}", 1, 2, 3, 4),
	"no byte order":    file("{'descr': '|f4', 'fortran_order': False, 'shape': ()}", 1, 2, 3, 4),
	"huge header":      append([]byte(magic), 2, 0, 255, 255, 255, 255),
}

func TestHostile(t *testing.T) {
	for name, data := range hostile {
		if a, err := Read(bytes.NewReader(data)); err == nil {
			t.Errorf("%s: read as %+v", name, a)
		}
		path := filepath.Join(t.TempDir(), "x.npy")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: ReadFile gave %v", name, err)
		}
	}
}

func npzBytes(t testing.TB, arrays ...Named) []byte {
	var b bytes.Buffer
	if err := WriteNPZ(&b, arrays...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readAll(data []byte) error {
	z, err := NewNPZ(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, name := range z.Names() {
		if _, err := z.Read(name); err != nil {
			return err
		}
	}
	return nil
}

// TestDamagedNPZ flips bits of the arrays and truncates the file: each must be an error.
func TestDamagedNPZ(t *testing.T) {
	a, _ := New([]int32{1, 2, 3, 4})
	data := npzBytes(t, Named{"a", a}, Named{"b", a})
	if err := readAll(data); err != nil {
		t.Fatal(err)
	}
	for n := range len(data) {
		if err := readAll(data[:n]); err == nil {
			t.Errorf("cut after %d of %d bytes: no error", n, len(data))
		}
	}
	at := bytes.Index(data, []byte(magic))
	end := bytes.Index(data, []byte("PK\x07\x08"))
	for i := at; i < end; i++ {
		flipped := bytes.Clone(data)
		flipped[i] ^= 1 << (i % 8)
		if err := readAll(flipped); err == nil {
			t.Errorf("a bit flipped in byte %d of %d: no error", i, len(data))
		}
	}
}

// TestZipBomb checks that the claimed size is rejected before anything is unpacked.
func TestZipBomb(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "a.npy", Method: zip.Deflate, CompressedSize64: 1, UncompressedSize64: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := readAll(b.Bytes()); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Fatalf("a bomb of %d bytes gave %v", b.Len(), err)
	}
}

func FuzzRead(f *testing.F) {
	for _, data := range hostile {
		f.Add(data)
	}
	addFiles(f, "testdata/*.npy")
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := Write(&b, a); err != nil {
			t.Fatalf("%+v was read but cannot be written: %v", a, err)
		}
		if again, err := Read(&b); err != nil || !reflect.DeepEqual(a, again) {
			t.Fatalf("%+v was written and read as %+v (%v)", a, again, err)
		}
		a.Float64s()
	})
}

func FuzzNPZ(f *testing.F) {
	addFiles(f, "testdata/*.npz")
	a, _ := New([]int32{1, 2, 3, 4})
	f.Add(npzBytes(f, Named{"a", a}, Named{"b", a}))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = readAll(data)
	})
}

func addFiles(f *testing.F, pattern string) {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds in %s: %v", pattern, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}
