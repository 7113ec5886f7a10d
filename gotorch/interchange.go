package gotorch

import (
	"fmt"

	"github.com/wangkuiyi/gotorch/pt"
)

var ptDtypes = map[pt.DType]DType{
	pt.Float32: Float, pt.Float64: Double, pt.Float16: Half, pt.BFloat16: BFloat16,
	pt.Int64: Long, pt.Int32: Int, pt.Int16: Short, pt.Int8: Char, pt.Uint8: Byte, pt.Bool: Bool,
}

// FromPT copies a tensor of package pt to a tensor on the CPU.
func FromPT(t *pt.Tensor) Tensor {
	if t == nil {
		panic(&Error{Op: "FromPT", Message: "the tensor is nil"})
	}
	if err := t.Check(); err != nil {
		panic(&Error{Op: "FromPT", Message: err.Error()})
	}
	return FromBytes(t.Data, ptDtypes[t.DType], t.Shape...)
}

// PT copies t to host memory, as a tensor of package pt.
func (t Tensor) PT() *pt.Tensor {
	dtype := t.Dtype()
	for d, own := range ptDtypes {
		if own == dtype {
			return &pt.Tensor{DType: d, Shape: t.Shape(), Data: t.Bytes()}
		}
	}
	panic(&Error{Op: "PT", Message: fmt.Sprintf("a file cannot hold %s", dtype)})
}
