package gotorch

import "fmt"

// DType is the type of a tensor's elements, numbered as c10::ScalarType.
type DType int8

// The dtypes.
const (
	Byte     DType = 0  // uint8
	Char     DType = 1  // int8
	Short    DType = 2  // int16
	Int      DType = 3  // int32
	Long     DType = 4  // int64
	Half     DType = 5  // float16
	Float    DType = 6  // float32
	Double   DType = 7  // float64
	Bool     DType = 11 // bool
	BFloat16 DType = 15 // bfloat16
)

// String returns PyTorch's name of the dtype, such as "float32".
func (d DType) String() string {
	switch d {
	case Byte:
		return "uint8"
	case Char:
		return "int8"
	case Short:
		return "int16"
	case Int:
		return "int32"
	case Long:
		return "int64"
	case Half:
		return "float16"
	case Float:
		return "float32"
	case Double:
		return "float64"
	case Bool:
		return "bool"
	case BFloat16:
		return "bfloat16"
	}
	return fmt.Sprintf("dtype %d", int8(d))
}
