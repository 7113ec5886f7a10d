package pt

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// golden is the folder of models that the reference implementation wrote.
const golden = "../../testdata/golden/model"

func mustRead(t *testing.T, path string) any {
	t.Helper()
	v, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// at returns an element of nested dicts and lists.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch c := v.(type) {
		case *Dict:
			var ok bool
			if v, ok = c.Get(step); !ok {
				t.Fatalf("no key %v among %v", step, c.Keys())
			}
		case []any:
			v = c[step.(int)]
		default:
			t.Fatalf("%T has no %v", v, step)
		}
	}
	return v
}

func float32s(t *testing.T, v any) []float32 {
	t.Helper()
	tensor, ok := v.(*Tensor)
	if !ok || tensor.DType != Float32 {
		t.Fatalf("%v is no float32 tensor", v)
	}
	if err := tensor.Check(); err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(tensor.Data)/4)
	for i := range out {
		b := tensor.Data[4*i:]
		out[i] = math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
	}
	return out
}

// tensor makes a float32 tensor; no values make one of zeros.
func tensor(shape []int64, values ...float32) *Tensor {
	t := &Tensor{DType: Float32, Shape: shape, Data: []byte{}}
	for _, v := range values {
		bits := math.Float32bits(v)
		t.Data = append(t.Data, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
	}
	return t
}

func upTo(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(i)
	}
	return out
}

// eachFormat runs a test on a file of testdata/make.py in both formats.
func eachFormat(t *testing.T, name string, test func(t *testing.T, v any)) {
	for _, prefix := range []string{"", "legacy_"} {
		file := prefix + name + ".pt"
		t.Run(file, func(t *testing.T) { test(t, mustRead(t, filepath.Join("testdata", "good", file))) })
	}
}

func TestReadStrides(t *testing.T) {
	eachFormat(t, "strides", func(t *testing.T, v any) {
		for name, want := range map[string]*Tensor{
			"transposed": tensor([]int64{6, 4}, 0, 6, 12, 18, 1, 7, 13, 19, 2, 8, 14, 20, 3, 9, 15, 21, 4, 10, 16, 22, 5, 11, 17, 23),
			"columns":    tensor([]int64{4, 3}, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23),
			"expanded":   tensor([]int64{2, 3}, 7, 7, 7, 7, 7, 7),
			"rows":       tensor([]int64{2, 6}, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17),
			"scalar":     tensor([]int64{}, 3.5),
			"empty":      tensor([]int64{0, 3}),
			"one":        tensor([]int64{1, 1}, 17),
		} {
			if got := at(t, v, name); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
	})
}

// TestReadSharedStorage checks that tensors of one storage share memory.
func TestReadSharedStorage(t *testing.T) {
	check := func(t *testing.T, v any) {
		whole := at(t, v, "whole").(*Tensor)
		if !slices.Equal(float32s(t, whole), upTo(24)) || !slices.Equal(float32s(t, at(t, v, "tail")), upTo(24)[20:]) {
			t.Fatalf("got %v", v)
		}
		head := at(t, v, "head").(*Tensor)
		whole.Data[0] = 1
		if head.Data[0] != 1 || cap(head.Data) != 16 {
			t.Errorf("the head does not share the whole's first 16 bytes alone")
		}
	}
	eachFormat(t, "shared", check)
	t.Run("compressed.pt", func(t *testing.T) { check(t, mustRead(t, "testdata/good/compressed.pt")) })
}

func TestReadDTypes(t *testing.T) {
	want := map[DType]string{
		Float32: "\x00\x00\x00\x00\x00\x00\x80\x3f\x00\x00\x00\x40",
		Float64: "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\x00\x40",
		Float16: "\x00\x00\x00\x3c\x00\x40", BFloat16: "\x00\x00\x80\x3f\x00\x40",
		Int64: "\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00",
		Int32: "\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00", Int16: "\x00\x00\x01\x00\x02\x00",
		Int8: "\x00\x01\x02", Uint8: "\x00\x01\x02", Bool: "\x00\x01\x01",
	}
	eachFormat(t, "dtypes", func(t *testing.T, v any) {
		for dtype, data := range want {
			got := at(t, v, dtype.String())
			if !reflect.DeepEqual(got, &Tensor{dtype, []int64{3}, []byte(data)}) {
				t.Errorf("%v: got %v", dtype, got)
			}
		}
	})
}

func TestReadParametersAndStates(t *testing.T) {
	eachFormat(t, "parameters", func(t *testing.T, v any) {
		for name, n := range map[string]int{"parameter": 2, "with_state": 3} {
			if got := float32s(t, at(t, v, name)); !slices.Equal(got, upTo(n)) {
				t.Errorf("%s: got %v", name, got)
			}
		}
	})
	eachFormat(t, "state_dict", func(t *testing.T, v any) {
		d := v.(*Dict)
		want := []any{"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
		if !d.Ordered || !slices.Equal(d.Keys(), want) {
			t.Errorf("keys %q (ordered: %v), want %q", d.Keys(), d.Ordered, want)
		}
		if got := float32s(t, at(t, v, "0.weight")); !slices.Equal(got, upTo(6)) {
			t.Errorf("0.weight: got %v", got)
		}
		if got, want := at(t, v, "1.num_batches_tracked"), (&Tensor{Int64, []int64{}, []byte("\x02\x00\x00\x00\x00\x00\x00\x00")}); !reflect.DeepEqual(got, want) {
			t.Errorf("num_batches_tracked: got %v", got)
		}
	})
	eachFormat(t, "adamw", func(t *testing.T, v any) {
		if got := float32s(t, at(t, v, "state", 3, "step")); !slices.Equal(got, []float32{2}) {
			t.Errorf("step: got %v", got)
		}
		if got := at(t, v, "state", 0, "exp_avg_sq").(*Tensor).Shape; !slices.Equal(got, []int64{3, 2}) {
			t.Errorf("exp_avg_sq: got %v", got)
		}
		if got := at(t, v, "param_groups", 0, "betas"); !reflect.DeepEqual(got, Tuple{0.9, 0.999}) {
			t.Errorf("betas: got %v", got)
		}
		if got := at(t, v, "param_groups", 0, "params"); !reflect.DeepEqual(got, []any{int64(0), int64(1), int64(2), int64(3)}) {
			t.Errorf("params: got %v", got)
		}
	})
}

// objects are those of testdata/make.py.
func objects() *Dict {
	i := func(values ...int64) []any {
		out := make([]any, len(values))
		for j, v := range values {
			out[j] = v
		}
		return out
	}
	keys := &Dict{}
	keys.Set(1, "int")
	keys.Set(-2.5, "float")
	keys.Set(2, "two")
	keys.Set(nil, "none")
	keys.Set("s", "str")
	d := &Dict{}
	d.Set("ints", i(0, 1, 255, 256, 65535, 65536, 1<<31-1, -1<<31, 1<<31, math.MaxInt64, math.MinInt64, -1))
	d.Set("floats", Tuple{0.0, -1.5, math.Inf(1), 1e300})
	d.Set("none", nil)
	d.Set("bools", []any{true, false})
	d.Set("text", "Größe ☃"+strings.Repeat("x", 300))
	d.Set("tuples", Tuple{Tuple{}, Tuple(i(1)), Tuple(i(1, 2)), Tuple(i(1, 2, 3)), Tuple(i(1, 2, 3, 4))})
	d.Set("empty", []any{[]any{}, &Dict{}, &Dict{Ordered: true}, ""})
	d.Set("keys", keys)
	d.Set("shared", []any{[]any{"shared", "list"}, []any{"shared", "list"}})
	d.Set("size", Tuple(i(2, 3)))
	d.Set("dtype", BFloat16)
	return d
}

func TestReadObjects(t *testing.T) {
	eachFormat(t, "objects", func(t *testing.T, v any) {
		if !reflect.DeepEqual(v, objects()) {
			t.Errorf("got %+v, want %+v", v, objects())
		}
	})
	for _, protocol := range []string{"protocol3", "protocol4", "protocol5"} {
		eachFormat(t, protocol, func(t *testing.T, v any) {
			if got := at(t, v, "objects"); !reflect.DeepEqual(got, objects()) {
				t.Errorf("got %+v, want %+v", got, objects())
			}
			if got := float32s(t, at(t, v, "base")); !slices.Equal(got, upTo(24)) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	want := map[string]string{
		"system":           "refers to posix.system",
		"legacy_system":    "refers to posix.system",
		"system_protocol4": "refers to posix.system",
		"module":           "refers to torch.nn.modules.linear.Linear",
		"bytes":            "refers to _codecs.encode",
		"set":              "refers to __builtin__.set",
		"big_int":          "an integer of 9 bytes",
		"complex":          "refers to torch.ComplexFloatStorage",
		"uint16":           "refers to torch._utils._rebuild_tensor_v3",
		"sparse":           "refers to torch._utils._rebuild_sparse_tensor",
		"numpy":            "refers to numpy",
		"tuple_key":        "a tuple as a dict's key",
		"cycle":            "a list contains itself",
		"torchscript":      "TorchScript",
	}
	paths, err := filepath.Glob("testdata/refused/*.pt")
	if err != nil || len(paths) != len(want) {
		t.Fatalf("%d files (%v), want %d", len(paths), err, len(want))
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".pt")
		_, err := ReadFile(path)
		if err == nil || !strings.Contains(err.Error(), want[name]) || !strings.Contains(err.Error(), "checkpoint "+path) {
			t.Errorf("%s: got %v, want %q", name, err, want[name])
		}
	}
}

func TestReadGolden(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join(golden, "*", "model.pt"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no golden models: %v", err)
	}
	for _, path := range cases {
		d := mustRead(t, path).(*Dict)
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "parameter_names.json"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		if err := json.Unmarshal(text, &names); err != nil {
			t.Fatal(err)
		}
		if d.Len() != len(names) {
			t.Errorf("%s: %d parameters, want %d", path, d.Len(), len(names))
		}
		for _, name := range names {
			if err := at(t, d, name).(*Tensor).Check(); err != nil {
				t.Errorf("%s: %s: %v", path, name, err)
			}
		}
		if old := filepath.Join(filepath.Dir(path), "model_legacy.pt"); fileExists(old) && !reflect.DeepEqual(mustRead(t, old), d) {
			t.Errorf("%s is not what model.pt is", old)
		}
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readBytes(b []byte) (any, error) { return Read(bytes.NewReader(b), int64(len(b))) }

func seed(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", path))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A file truncated at any byte is an error that names the byte.
func TestReadTruncated(t *testing.T) {
	for _, file := range []string{"good/shared.pt", "good/legacy_shared.pt", "good/compressed.pt"} {
		whole := seed(t, file)
		for n := range len(whole) {
			if _, err := readBytes(whole[:n]); err == nil {
				t.Errorf("%s cut after %d of %d bytes: no error", file, n, len(whole))
			} else if n > 32 && !strings.Contains(err.Error(), "truncated at byte ") {
				t.Errorf("%s cut after %d of %d bytes: %v", file, n, len(whole), err)
			}
		}
	}
}

// In the zip format a flipped bit is noticed, wherever it could change what is
// read. (The format before has no checksums.)
func TestReadFlippedBits(t *testing.T) {
	whole := seed(t, "good/shared.pt")
	want, err := readBytes(whole)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Index(whole, []byte("\x00\x00\x00\x00\x00\x00\x80\x3f\x00\x00\x00\x40"))
	for i := range 8 * len(whole) {
		flipped := bytes.Clone(whole)
		flipped[i/8] ^= 1 << (i % 8)
		got, err := readBytes(flipped)
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("bit %d of byte %d flipped: read as %v", i%8, i/8, got)
		}
		if in := i/8 - data; in >= 0 && in < 4*24 && (err == nil || !strings.Contains(err.Error(), "shared/data/0")) {
			t.Fatalf("byte %d of the storage flipped: %v", in, err)
		}
	}
	old := seed(t, "good/legacy_shared.pt")
	for i := range 8 * len(old) {
		flipped := bytes.Clone(old)
		flipped[i/8] ^= 1 << (i % 8)
		_, _ = readBytes(flipped) // it only may not panic
	}
}

func TestReadFileOfAnotherKind(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ content, want string }{
		{"", "truncated at byte 0"},
		{"PK", "truncated at byte 2"},
		{"P5 10 10 255 an image", "not a file of torch.save"},
	} {
		path := filepath.Join(dir, "x.pt")
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.content, err, c.want)
		}
	}
	if _, err := ReadFile(filepath.Join(dir, "none.pt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := ReadFile(dir); err == nil {
		t.Errorf("a folder was read")
	}
}
