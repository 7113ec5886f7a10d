package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
)

// file puts a file together.
func file(header, data string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+data...)
}

func read(b []byte) (*File, error) { return Read(bytes.NewReader(b), int64(len(b))) }

func allTypes() *File {
	f := &File{Metadata: map[string]string{"format": "pt", "config": `{"a": "ü<&>"}`}}
	for d := pt.Float32; d <= pt.Bool; d++ {
		data := make([]byte, 6*d.Size())
		for i := range data {
			data[i] = byte(i)
		}
		f.Tensors = append(f.Tensors, Named{"layer." + d.String(), &pt.Tensor{DType: d, Shape: []int64{2, 3}, Data: data}})
	}
	f.Tensors = append(f.Tensors,
		Named{"scalar", &pt.Tensor{DType: pt.Uint8, Shape: []int64{}, Data: []byte{7}}},
		Named{"empty", &pt.Tensor{DType: pt.Float64, Shape: []int64{0, 4}, Data: []byte{}}})
	return f
}

func TestRoundTrip(t *testing.T) {
	for _, want := range []*File{allTypes(), {}, {Metadata: map[string]string{"a": "b"}}} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := WriteFile(path, want); err != nil {
			t.Fatal(err)
		}
		got, err := ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Metadata, want.Metadata) || len(got.Tensors) != len(want.Tensors) {
			t.Errorf("got %v, want %v", got, want)
		}
		for _, tensor := range want.Tensors {
			if !reflect.DeepEqual(got.Get(tensor.Name), tensor.Tensor) {
				t.Errorf("%s: got %v, want %v", tensor.Name, got.Get(tensor.Name), tensor.Tensor)
			}
		}
		if got.Get("no such tensor") != nil {
			t.Error("a missing tensor was found")
		}
	}
}

// TestAlignment checks that the data of each tensor begins at a multiple of its element size.
func TestAlignment(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, allTypes()); err != nil {
		t.Fatal(err)
	}
	length := binary.LittleEndian.Uint64(b.Bytes())
	if length%8 != 0 {
		t.Errorf("a header of %d bytes", length)
	}
	_, entries, err := parse(b.Bytes()[8 : 8+length])
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		made, _, err := e.tensor()
		if err != nil || e.Offsets[0]%made.DType.Size() != 0 {
			t.Errorf("%s begins at byte %d (%v)", e.name, e.Offsets[0], err)
		}
	}
}

// TestReadFileOfPython reads a file that testdata/make.py wrote with Python's safetensors.
func TestReadFileOfPython(t *testing.T) {
	f, err := ReadFile("testdata/python.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*pt.Tensor{
		"weight": {DType: pt.BFloat16, Shape: []int64{2, 2}, Data: []byte("\x00\x00\x80\x3f\x00\x40\x40\x40")},
		"step":   {DType: pt.Int64, Shape: []int64{}, Data: []byte("\x07\x00\x00\x00\x00\x00\x00\x00")},
		"mask":   {DType: pt.Bool, Shape: []int64{3}, Data: []byte("\x01\x00\x01")},
		"none":   {DType: pt.Float32, Shape: []int64{0}, Data: []byte{}},
	}
	if len(f.Tensors) != len(want) || f.Metadata["format"] != "pt" {
		t.Errorf("got %v with metadata %v", f.Tensors, f.Metadata)
	}
	for name, tensor := range want {
		if !reflect.DeepEqual(f.Get(name), tensor) {
			t.Errorf("%s: got %v, want %v", name, f.Get(name), tensor)
		}
	}
}

const oneByte = `"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`

var hostile = map[string]struct {
	data []byte
	want string
}{
	"empty":             {nil, "truncated at byte 0"},
	"no header":         {make([]byte, 8), "not a JSON object"},
	"huge header":       {[]byte("PK\x03\x04\x00\x00\x00\x00"), "truncated at byte 8"},
	"absurd header":     {bytes.Repeat([]byte{255}, 100), "longer than 100000000"},
	"truncated header":  {file(`{`+oneByte+`}`, "x")[:30], "truncated at byte 30"},
	"truncated data":    {file(`{`+oneByte+`}`, ""), "beyond the 0 bytes of data"},
	"data left":         {file(`{`+oneByte+`}`, "xy"), "end at byte 1 of the 2"},
	"list":              {file(`[]`, ""), "not a JSON object"},
	"space before":      {file(` {}`, ""), "not a JSON object"},
	"not UTF-8":         {file("{\"\xff\":{}}", ""), "not a JSON object in UTF-8"},
	"open object":       {file(`{`, ""), "unexpected EOF"},
	"text after":        {file(`{} {}`, ""), "something follows"},
	"name twice":        {file(`{`+oneByte+`,`+oneByte+`}`, "x"), `key "a" occurs twice`},
	"field twice":       {file(`{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "x"), `key "dtype" occurs twice`},
	"null tensor":       {file(`{"a":null}`, ""), "instead of {"},
	"null shape":        {file(`{"a":{"dtype":"U8","shape":null,"data_offsets":[0,1]}}`, "x"), "missing or impossible"},
	"no shape":          {file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, "x"), "missing or impossible"},
	"no offsets":        {file(`{"a":{"dtype":"U8","shape":[1]}}`, "x"), "not a pair"},
	"three offsets":     {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, "x"), "not a pair"},
	"case of a key":     {file(`{"a":{"DType":"U8","shape":[1],"data_offsets":[0,1]}}`, "x"), `dtype "" is not supported`},
	"dtype":             {file(`{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}`, "x"), `dtype "F4" is not supported`},
	"negative shape":    {file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, "x"), "impossible"},
	"two negatives":     {file(`{"a":{"dtype":"U8","shape":[-1,-1],"data_offsets":[0,1]}}`, "x"), "impossible"},
	"overflowing shape": {file(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,1]}}`, "x"), "impossible"},
	"shape with point":  {file(`{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}`, "x"), "cannot unmarshal"},
	"beyond":            {file(`{"a":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}`, "x"), "beyond the 1 bytes"},
	"another size":      {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}}`, "x"), "data_offsets [0 1]"},
	"negative offset":   {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}`, "x"), "does not follow byte 0"},
	"hole":              {file(`{`+oneByte+`,"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, "xyz"), "does not follow byte 1"},
	"overlap":           {file(`{`+oneByte+`,"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "x"), "does not follow byte 1"},
	"metadata number":   {file(`{"__metadata__":{"a":1}}`, ""), `metadata "a" is not a string`},
	"metadata null":     {file(`{"__metadata__":null}`, ""), "instead of {"},
	"metadata twice":    {file(`{"__metadata__":{"a":"1","a":"2"}}`, ""), `key "a" occurs twice`},
	"nested":            {file(`{"a":{"x":`+strings.Repeat("[", 100_000), ""), "depth"},
}

func TestHostile(t *testing.T) {
	for name, c := range hostile {
		if _, err := read(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	var b bytes.Buffer
	if err := Write(&b, allTypes()); err != nil {
		t.Fatal(err)
	}
	for n := range b.Len() {
		if _, err := read(b.Bytes()[:n]); err == nil {
			t.Errorf("cut after %d of %d bytes: no error", n, b.Len())
		}
	}
	// Unknown fields are skipped.
	if f, err := read(file(`{"a":{"x":[{}],"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   `, "x")); err != nil || f.Get("a") == nil {
		t.Errorf("an unknown field: %v", err)
	}
}

func TestReadFileErrorsNameTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if _, err := ReadFile(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("an empty file: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	one := &pt.Tensor{DType: pt.Uint8, Shape: []int64{1}, Data: []byte{1}}
	for name, f := range map[string]*File{
		"misshapen":      {Tensors: []Named{{"a", &pt.Tensor{DType: pt.Float32, Shape: []int64{1}}}}},
		"no tensor":      {Tensors: []Named{{"a", nil}}},
		"twice":          {Tensors: []Named{{"a", one}, {"a", one}}},
		"reserved":       {Tensors: []Named{{"__metadata__", one}}},
		"name":           {Tensors: []Named{{"\xff", one}}},
		"metadata":       {Metadata: map[string]string{"a": "\xff"}},
		"metadata's key": {Metadata: map[string]string{"\xff": "a"}},
	} {
		var b bytes.Buffer
		if err := Write(&b, f); err == nil || b.Len() > 0 {
			t.Errorf("%s: %v after %d bytes", name, err, b.Len())
		}
	}
	if err := WriteFile(filepath.Join(t.TempDir(), "no", "x"), &File{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	if err := Write(failing{}, allTypes()); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a failing writer: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func FuzzRead(f *testing.F) {
	for _, c := range hostile {
		if len(c.data) < 10_000 {
			f.Add(c.data)
		}
	}
	python, err := os.ReadFile("testdata/python.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(python)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := read(data)
		if mapped, mapErr := Parse(data); !reflect.DeepEqual(file, mapped) || (err == nil) != (mapErr == nil) {
			t.Fatalf("read as %v (%v), but parsed as %v (%v)", file, err, mapped, mapErr)
		}
		if err != nil {
			return
		}
		if !Begins(data) {
			t.Fatalf("%q was read but not detected", data)
		}
		var b bytes.Buffer
		if err := Write(&b, file); err != nil {
			t.Fatalf("%v was read but cannot be written: %v", file, err)
		}
		again, err := read(b.Bytes())
		if err != nil || len(again.Tensors) != len(file.Tensors) {
			t.Fatalf("%v was written and read as %v (%v)", file, again, err)
		}
	})
}
