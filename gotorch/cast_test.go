package gotorch

import (
	"slices"
	"testing"
)

// TestForeachCastTo compares the cast of a list with the casts of its tensors:
// values, layouts and gradients must be bit-identical. A tensor whose cast is unused
// gets no gradient.
func TestForeachCastTo(t *testing.T) {
	shapes := [][]int64{{1}, {}, {3, 5, 7, 2}, {0, 4}, {40_001}, {8, 1, 3, 3}, {129, 257}}
	for _, test := range []struct {
		name     string
		from, to DType
	}{{"float32 to bfloat16", Float, BFloat16}, {"bfloat16 to float32", BFloat16, Float}, {"float32 to float16", Float, Half}, {"float32 to float64", Float, Double}} {
		t.Run(test.name, func(t *testing.T) {
			Run(func() {
				Scope(func() {
					draw := func(dtype DType, stream uint32) (list []Tensor) {
						for i, shape := range shapes {
							x := PhiloxNormal(Device{}, Float, PhiloxKey{Stream: stream, Step: uint32(i)}, shape...).MulScalar(1e3).CastTo(dtype)
							if len(shape) == 4 && i%2 == 0 {
								x = x.ChannelsLast()
							}
							list = append(list, x)
						}
						return list
					}
					leaves, gradients := draw(test.from, 1), draw(test.to, 2)
					for _, x := range leaves {
						x.SetRequiresGrad(true)
					}
					compareCasts(t, leaves, gradients, test.to)
				})
			})
		})
	}
}

func compareCasts(t *testing.T, leaves, gradients []Tensor, dtype DType) {
	t.Helper()
	cast := ForeachCastTo(leaves, dtype)
	unused := len(leaves) - 1
	total := full(0)
	for i := range cast[:unused] {
		total = total.Add(cast[i].Mul(gradients[i]).CastTo(Float).Sum(), 1)
	}
	total.Backward()
	for i, x := range leaves {
		want := x.CastTo(dtype)
		if got := cast[i]; got.Dtype() != dtype || !slices.Equal(got.Shape(), x.Shape()) || !Equal(got, want) {
			t.Errorf("%v: is %v", x.Shape(), got.Shape())
		}
		got := x.Grad()
		if i == unused {
			if got.Defined() {
				t.Errorf("%v has a gradient, but nothing used it", x.Shape())
			}
			continue
		}
		if !Equal(got, gradients[i].CastTo(x.Dtype())) {
			t.Errorf("%v: another gradient", x.Shape())
		}
	}
}

// TestForeachCastToRefuses casts lists of several dtypes or devices.
func TestForeachCastToRefuses(t *testing.T) {
	Scope(func() {
		one := full(1, 2)
		if list := ForeachCastTo(nil, Double); len(list) != 0 {
			t.Error("no tensors became some")
		}
		for name, f := range map[string]func(){
			"two dtypes":  func() { ForeachCastTo([]Tensor{one, one.CastTo(Double)}, BFloat16) },
			"to integers": func() { ForeachCastTo([]Tensor{one}, Long) },
		} {
			if err := Try(f); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
}
