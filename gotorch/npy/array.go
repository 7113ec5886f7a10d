// Package npy reads and writes NumPy's array files, .npy and .npz, whose format
// is numpy.lib.format's:
//
//	"\x93NUMPY", one byte of major and one of minor version (1.0, 2.0 or 3.0)
//	the header's length: uint16 in version 1, uint32 later, little-endian
//	the header: a Python dict literal {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), },
//	  padded with spaces and ended by a newline so that the data starts at a multiple of 64
//	the elements, in C order, or in Fortran order where the header says so
//
// A .npz is a zip of such files, each named after its array plus ".npy".
//
// Arrays in memory are bytes, always little-endian and in C order. Reading converts
// big-endian and Fortran-order files. It never unpickles: arrays of objects and
// structured arrays are errors. A malformed file gives an error and needs no more
// memory than its size (compressed files: see OpenNPZ).
package npy

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/wangkuiyi/gotorch/internal/strided"
)

// DType is the type of an array's elements. The zero value is invalid.
type DType uint8

// The element types, by NumPy's names.
const (
	Bool DType = iota + 1
	Int8
	Uint8
	Int16
	Uint16
	Int32
	Uint32
	Int64
	Uint64
	Float16
	Float32
	Float64
)

// dtypes gives each DType its name and its code in a header, whose last digit
// is the size in bytes.
var dtypes = [...]struct{ name, code string }{
	Bool: {"bool", "b1"}, Int8: {"int8", "i1"}, Uint8: {"uint8", "u1"},
	Int16: {"int16", "i2"}, Uint16: {"uint16", "u2"}, Int32: {"int32", "i4"}, Uint32: {"uint32", "u4"},
	Int64: {"int64", "i8"}, Uint64: {"uint64", "u8"},
	Float16: {"float16", "f2"}, Float32: {"float32", "f4"}, Float64: {"float64", "f8"},
}

func (d DType) valid() bool { return d >= Bool && d <= Float64 }

// String returns NumPy's name of the type, such as "float32".
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
	return int64(dtypes[d].code[1] - '0')
}

// Array is an n-dimensional array: Data contains product(Shape) elements of DType,
// little-endian, in C order. An empty Shape is a scalar.
type Array struct {
	DType DType
	Shape []int64
	Data  []byte
}

// Number is a Go type that has a DType.
type Number interface {
	bool | int8 | uint8 | int16 | uint16 | int32 | uint32 | int64 | uint64 | float32 | float64
}

// New makes an array from a copy of values. Without a shape it is a vector; else the
// product of the shape must be the number of values.
func New[T Number](values []T, shape ...int64) (*Array, error) {
	if len(shape) == 0 {
		shape = []int64{int64(len(values))}
	}
	a := &Array{DType: dtypeOf[T](), Shape: shape}
	if n, ok := strided.Bytes(shape, 1); !ok || n != int64(len(values)) {
		return nil, fmt.Errorf("npy: %d values do not fill the shape %v", len(values), shape)
	}
	// binary.Append supports every Number, so it cannot fail.
	a.Data, _ = binary.Append(make([]byte, 0, int64(len(values))*a.DType.Size()), binary.LittleEndian, values)
	return a, nil
}

func dtypeOf[T Number]() DType {
	var zero T
	switch any(zero).(type) {
	case bool:
		return Bool
	case int8:
		return Int8
	case uint8:
		return Uint8
	case int16:
		return Int16
	case uint16:
		return Uint16
	case int32:
		return Int32
	case uint32:
		return Uint32
	case int64:
		return Int64
	case uint64:
		return Uint64
	case float32:
		return Float32
	default:
		return Float64
	}
}

// Len returns the number of elements in Data.
func (a *Array) Len() int {
	if !a.DType.valid() {
		return 0
	}
	return len(a.Data) / int(a.DType.Size())
}

// check returns why a cannot be written, or nil.
func (a *Array) check() error {
	if !a.DType.valid() {
		return fmt.Errorf("npy: an array of %v cannot be written", a.DType)
	}
	n, ok := strided.Bytes(a.Shape, a.DType.Size())
	if !ok || n != int64(len(a.Data)) {
		return fmt.Errorf("npy: %d bytes of data do not fill the shape %v of %v", len(a.Data), a.Shape, a.DType)
	}
	return nil
}

// Float64s returns the elements of any type as float64. Integers beyond 2^53 are
// rounded, and a bool is 0 or 1.
func (a *Array) Float64s() []float64 {
	switch a.DType {
	case Float64:
		return decode[float64](a)
	case Float32:
		return convert[float64](decode[float32](a))
	case Float16:
		return convert[float64](a.halves())
	case Uint64:
		return convert[float64](decode[uint64](a))
	default:
		return convert[float64](a.integers())
	}
}

// Float32s returns the elements of a float32 or float16 array. Other types are an
// error, since float32 cannot represent all their values.
func (a *Array) Float32s() ([]float32, error) {
	switch a.DType {
	case Float32:
		return decode[float32](a), nil
	case Float16:
		return a.halves(), nil
	}
	return nil, fmt.Errorf("npy: the array is %v, not float32 or float16", a.DType)
}

// Int64s returns the elements of a bool or integer array other than uint64.
func (a *Array) Int64s() ([]int64, error) {
	switch a.DType {
	case Float16, Float32, Float64, Uint64:
		return nil, fmt.Errorf("npy: the array is %v, not integers that fit an int64", a.DType)
	}
	return a.integers(), nil
}

// Uint8s returns the elements of a uint8 or bool array: its Data, not a copy.
func (a *Array) Uint8s() ([]uint8, error) {
	if a.DType != Uint8 && a.DType != Bool {
		return nil, fmt.Errorf("npy: the array is %v, not uint8", a.DType)
	}
	return a.Data, nil
}

func (a *Array) integers() []int64 {
	switch a.DType {
	case Bool, Uint8:
		return convert[int64](a.Data)
	case Int8:
		return convert[int64](decode[int8](a))
	case Int16:
		return convert[int64](decode[int16](a))
	case Uint16:
		return convert[int64](decode[uint16](a))
	case Int32:
		return convert[int64](decode[int32](a))
	case Uint32:
		return convert[int64](decode[uint32](a))
	case Int64:
		return decode[int64](a)
	}
	return nil
}

func (a *Array) halves() []float32 {
	out := make([]float32, a.Len())
	for i, h := range decode[uint16](a) {
		out[i] = halfToFloat(h)
	}
	return out
}

// halfToFloat converts an IEEE 754 binary16 to float32, which is exact.
func halfToFloat(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exponent {
	case 0: // zero and subnormals: fraction * 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 0x1f: // infinities and NaN
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

func decode[T Number](a *Array) []T {
	out := make([]T, a.Len())
	// The sizes agree, so Decode cannot fail.
	_, _ = binary.Decode(a.Data, binary.LittleEndian, out)
	return out
}

func convert[To, From int8 | uint8 | int16 | uint16 | int32 | uint32 | int64 | uint64 | float32 | float64](values []From) []To {
	out := make([]To, len(values))
	for i, v := range values {
		out[i] = To(v)
	}
	return out
}
