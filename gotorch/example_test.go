package gotorch_test

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// Tensors that a function creates in a scope are freed when it returns; MoveOut keeps one.
func ExampleScope() {
	gotorch.Run(func() { // all tensor work is on one thread
		var sum gotorch.Tensor
		gotorch.Scope(func() {
			x := gotorch.FromFloat64s([]float64{1, 2, 3, 4}, 2, 2)
			sum = x.MulScalar(10).Sum().MoveOut()
		})
		fmt.Println(sum.Float64s())
		sum.Free()
	})
	// Output: [100]
}

// An operator that libtorch refuses panics; Try returns the panic as an error.
func ExampleTry() {
	gotorch.Run(func() {
		err := gotorch.Try(func() {
			gotorch.Scope(func() {
				a, b := gotorch.FromFloat64s(make([]float64, 2), 2), gotorch.FromFloat64s(make([]float64, 3), 3)
				a.Add(b, 1)
			})
		})
		fmt.Println(err != nil)
	})
	// Output: true
}
