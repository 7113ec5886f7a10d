package diffusers

import (
	"fmt"

	"github.com/wangkuiyi/gotorch/pt"
)

// splitQKV divides a weight or bias of queries, keys and values, whose first dimension is 3C, into
// three of C rows. newOrder: its rows are (queries, keys, values), heads, channels; else heads,
// (queries, keys, values), channels. Those of the parts are heads, channels.
func splitQKV(t *pt.Tensor, heads int, newOrder bool) (parts [3]*pt.Tensor, err error) {
	rows := firstDim(t)
	if heads < 1 || rows%int64(3*heads) != 0 {
		return parts, fmt.Errorf("%v is not 3 times a multiple of %d heads", t.Shape, heads)
	}
	width := rows / 3
	chunk := len(t.Data) / (3 * heads) // of one head's queries, keys or values
	for i := range parts {
		data := make([]byte, 0, len(t.Data)/3)
		for head := range heads {
			at := head*3 + i
			if newOrder {
				at = i*heads + head
			}
			data = append(data, t.Data[at*chunk:(at+1)*chunk]...)
		}
		parts[i] = &pt.Tensor{DType: t.DType, Shape: []int64{width}, Data: data}
		if len(t.Shape) > 1 {
			parts[i].Shape = append(parts[i].Shape, t.Shape[1])
		}
	}
	return parts, nil
}

// joinQKV is the inverse of splitQKV, in the old order. Weights get the third dimension of a 1-D
// convolution.
func joinQKV(parts [3]*pt.Tensor, heads int) (*pt.Tensor, error) {
	q := parts[0]
	if heads < 1 || firstDim(q)%int64(heads) != 0 {
		return nil, fmt.Errorf("%v does not divide into %d heads", q.Shape, heads)
	}
	joined := &pt.Tensor{DType: q.DType, Shape: []int64{3 * firstDim(q)}}
	for _, p := range parts {
		if p.DType != q.DType || fmt.Sprint(p.Shape) != fmt.Sprint(q.Shape) {
			return nil, fmt.Errorf("queries %v, keys and values %v have different shapes or types", q.Shape, p.Shape)
		}
	}
	chunk := len(q.Data) / heads
	for head := range heads {
		for _, p := range parts {
			joined.Data = append(joined.Data, p.Data[head*chunk:(head+1)*chunk]...)
		}
	}
	if len(q.Shape) == 2 {
		joined.Shape = append(joined.Shape, q.Shape[1], 1)
	}
	return joined, nil
}

func firstDim(t *pt.Tensor) int64 {
	if len(t.Shape) == 0 {
		return 0
	}
	return t.Shape[0]
}

// as returns a tensor with another shape of as many elements.
func as(t *pt.Tensor, shape ...int64) *pt.Tensor {
	return &pt.Tensor{DType: t.DType, Shape: shape, Data: t.Data}
}
