// Package pt reads and writes the files of PyTorch's torch.save, without PyTorch.
//
// Since PyTorch 1.6 such a file is a zip whose entries are stored uncompressed
// and start at multiples of 64 bytes, all below one folder:
//
//	archive/data.pkl   the saved object, pickled; a tensor in it is a call of torch._utils._rebuild_tensor_v2
//	                   with a storage's key, an offset, a shape and strides
//	archive/data/KEY   the bytes of that storage
//	archive/byteorder  "little"
//	archive/version    "3\n"
//
// Before 1.6 it was, one after the other: the pickles of a magic number, of a
// protocol number, of a description of the machine, of the object, and of the
// list of storage keys; then per storage an int64 count of elements and its bytes.
//
// Read reads both; Write writes the first, which torch.load(path, weights_only=True)
// reads. These Python objects are supported:
//
//	None, bool, int, float, str   nil, bool, int64, float64, string
//	list, tuple                   []any, Tuple
//	dict, OrderedDict             *Dict
//	Tensor, Parameter             *Tensor
//	torch.Size, torch.dtype       Tuple, DType
//
// A pickle is a program that calls functions by name. Only the few PyTorch functions
// for the objects above are supported, by Go code; any other name is an error. A
// malformed file gives an error and needs memory of the order of its size (and 64 MiB
// for the pickle).
package pt

import (
	"fmt"

	"github.com/wangkuiyi/gotorch/internal/strided"
	"github.com/wangkuiyi/gotorch/pickle"
)

// DType is the type of a tensor's elements. The zero value is invalid.
type DType uint8

// The element types, by PyTorch's names.
const (
	Float32 DType = iota + 1
	Float64
	Float16
	BFloat16
	Int64
	Int32
	Int16
	Int8
	Uint8
	Bool
)

// dtypes gives each DType its name, the class of its storages and its size.
var dtypes = [...]struct {
	name, storage string
	size          int64
}{
	Float32:  {"float32", "FloatStorage", 4},
	Float64:  {"float64", "DoubleStorage", 8},
	Float16:  {"float16", "HalfStorage", 2},
	BFloat16: {"bfloat16", "BFloat16Storage", 2},
	Int64:    {"int64", "LongStorage", 8},
	Int32:    {"int32", "IntStorage", 4},
	Int16:    {"int16", "ShortStorage", 2},
	Int8:     {"int8", "CharStorage", 1},
	Uint8:    {"uint8", "ByteStorage", 1},
	Bool:     {"bool", "BoolStorage", 1},
}

func (d DType) valid() bool { return d >= Float32 && d <= Bool }

// String returns PyTorch's name of the type, such as "bfloat16".
func (d DType) String() string {
	if !d.valid() {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Size returns the bytes of one element, 0 for an invalid DType.
func (d DType) Size() int64 {
	if !d.valid() {
		return 0
	}
	return dtypes[d].size
}

// Tensor is a tensor in host memory: Data contains product(Shape) elements,
// little-endian, in C order. An empty Shape is a scalar.
//
// Tensors that share a storage in a file share Data's memory once read, and
// tensors whose Data is the same slice share a storage in the file.
type Tensor struct {
	DType DType
	Shape []int64
	Data  []byte
}

// Check returns an error if t is not valid: an unknown DType, or Data that does not fill
// Shape.
func (t *Tensor) Check() error {
	if !t.DType.valid() {
		return fmt.Errorf("a tensor cannot hold %v", t.DType)
	}
	n, ok := strided.Bytes(t.Shape, t.DType.Size())
	if !ok || n != int64(len(t.Data)) {
		return fmt.Errorf("%d bytes of data do not fill the shape %v of %v", len(t.Data), t.Shape, t.DType)
	}
	return nil
}

// Tuple is a Python tuple.
type Tuple []any

// Dict is a Python dict or OrderedDict.
type Dict = pickle.Dict

// TypeName returns Python's name of the type of a value that [ReadFile] has read.
func TypeName(v any) string {
	switch v := v.(type) {
	case []any:
		return "list"
	case Tuple:
		return "tuple"
	case *Tensor:
		return "Tensor"
	default:
		return pickle.TypeName(v)
	}
}
