package gotorch

import "fmt"

// The element types, numbered as c10::ScalarType.
const (
	Byte     int8 = 0  // uint8
	Char     int8 = 1  // int8
	Short    int8 = 2  // int16
	Int      int8 = 3  // int32
	Long     int8 = 4  // int64
	Half     int8 = 5  // float16
	Float    int8 = 6  // float32
	Double   int8 = 7  // float64
	Bool     int8 = 11 // bool
	BFloat16 int8 = 15 // bfloat16
	Invalid  int8 = -1
)

// DtypeName returns PyTorch's name of a dtype, such as "float32".
func DtypeName(dtype int8) string {
	switch dtype {
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
	return fmt.Sprintf("dtype %d", dtype)
}
