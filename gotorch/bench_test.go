package gotorch

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkCgoOverhead times one small operator: almost all of its time is cgo, the
// C ABI and libtorch's dispatcher. Inside a scope it must not allocate on Go's heap.
func BenchmarkCgoOverhead(b *testing.B) {
	defer oneThread()()
	x, y := full(1), full(2)
	const batch = 1000
	perOp := func(b *testing.B, f func()) {
		b.ReportAllocs()
		NoGrad(func() {
			for b.Loop() {
				Scope(func() {
					for range batch {
						f()
					}
				})
			}
		})
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/operator")
	}
	b.Run("Numel", func(b *testing.B) { perOp(b, func() { x.Numel() }) })
	b.Run("AddScalarI", func(b *testing.B) { perOp(b, func() { x.AddScalarI(0) }) })
	b.Run("Add", func(b *testing.B) { perOp(b, func() { x.Add(y, 1) }) })
	b.Run("View", func(b *testing.B) { perOp(b, func() { x.View(1, 1) }) })
	b.Run("SumDims", func(b *testing.B) { perOp(b, func() { x.SumDims(false) }) })
	b.Run("Cat", func(b *testing.B) {
		one := x.View(1)
		list := []Tensor{one, one}
		perOp(b, func() { Cat(list, 0) })
	})
	b.Run("Unscoped", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.Add(y, 1)
		}
	})
}

// BenchmarkAboveCxx measures the overhead of Go per operator: 1000 small operators
// called from Go one by one, against the same 1000 called by libtorch in one C call.
// It fails if the difference reaches a microsecond per operator.
func BenchmarkAboveCxx(b *testing.B) {
	defer oneThread()()
	const n = 1000
	list, other := make([]Tensor, n), make([]Tensor, n)
	for i := range list {
		list[i], other[i] = full(1), full(1)
	}
	factor := full(1)
	for _, op := range []struct {
		name     string
		one, all func()
	}{
		{"CopyI", func() {
			for i, x := range list {
				x.CopyI(other[i])
			}
		}, func() { ForeachCopyI(list, other) }},
		{"Mul", func() {
			for _, x := range list {
				x.MulScalarI(1)
			}
		}, func() { ForeachMulI(list, factor) }},
	} {
		b.Run(op.name, func(b *testing.B) {
			var fromGo, fromCxx time.Duration
			NoGrad(func() {
				for b.Loop() {
					Scope(func() {
						start := time.Now()
						op.one()
						middle := time.Now()
						op.all()
						fromGo += middle.Sub(start)
						fromCxx += time.Since(middle)
					})
				}
			})
			perOp := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(b.N) / n }
			b.ReportMetric(perOp(fromCxx), "ns-in-C++/operator")
			b.ReportMetric(perOp(fromGo-fromCxx), "ns-above/operator")
			if above := perOp(fromGo - fromCxx); above >= 1000 {
				b.Errorf("an operator takes %.0f ns above the C++ call", above)
			}
		})
	}
}

// BenchmarkGroupNormSilu times the kernel, forward and backward, against its
// reference implementation at the sizes of a 64-channel network's first level.
func BenchmarkGroupNormSilu(b *testing.B) {
	for _, dtype := range []DType{Float, BFloat16} {
		for _, fused := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/fused=%t", dtype, fused), func(b *testing.B) {
				Run(func() {
					Scope(func() {
						in := newNormInputs(dtype, true, 8, 64, 32, 32)
						in.x = in.x.Detach().ChannelsLast()
						in.x.SetRequiresGrad(true)
						gradient := in.x.Detach()
						for b.Loop() {
							Scope(func() {
								if fused {
									in.fused(32, true).BackwardWith(gradient)
								} else {
									in.composed(32, true).BackwardWith(gradient)
								}
							})
						}
					})
				})
			})
		}
	}
}

// BenchmarkSelfAttention times the kernel, forward and backward, against its
// reference implementation at the sizes of a 64-channel network's two attention resolutions.
func BenchmarkSelfAttention(b *testing.B) {
	for _, tokens := range []int64{256, 64} {
		for _, dtype := range []DType{Float, BFloat16} {
			for _, fused := range []bool{true, false} {
				b.Run(fmt.Sprintf("%d/%s/fused=%t", tokens, dtype, fused), func(b *testing.B) {
					Run(func() {
						Scope(func() {
							qkv := PhiloxNormal(Device{}, Float, PhiloxKey{}, 8, tokens, 3*128).CastTo(dtype)
							qkv.SetRequiresGrad(true)
							attend := composedAttention
							if fused {
								attend = SelfAttention
							}
							for b.Loop() {
								Scope(func() {
									y := attend(qkv, 4)
									y.BackwardWith(y.Detach())
								})
							}
						})
					})
				})
			}
		}
	}
}

// BenchmarkUpsample times upsampling and the convolution after it, forward and
// backward, as one transposed convolution and as two operators.
func BenchmarkUpsample(b *testing.B) {
	one := []int64{1}
	for _, dtype := range []DType{Float, BFloat16} {
		for _, folded := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/folded=%t", dtype, folded), func(b *testing.B) {
				Run(func() {
					Scope(func() {
						x := PhiloxNormal(Device{}, Float, PhiloxKey{}, 8, 128, 16, 16).CastTo(dtype)
						w := PhiloxNormal(Device{}, Float, PhiloxKey{}, 128, 128, 3, 3)
						bias := ZerosOn(Device{}, dtype, 128)
						for _, leaf := range []Tensor{x, w, bias} {
							leaf.SetRequiresGrad(true)
						}
						for b.Loop() {
							Scope(func() {
								var y Tensor
								if folded {
									y = UpsampleConv2d(x, UpsampleWeight(w, dtype), bias)
								} else {
									y = Conv2d(UpsampleNearest2d(x, 32, 32), w.CastTo(dtype), bias, one, one, one, 1)
								}
								y.BackwardWith(y.Detach())
							})
						}
					})
				})
			})
		}
	}
}

// BenchmarkAdamW times one update of 8 M parameters and one EMA of them, and the
// norm of the gradients.
func BenchmarkAdamW(b *testing.B) {
	Run(func() {
		Scope(func() {
			draw := func(stream uint32) (list []Tensor) {
				for range 50 {
					list = append(list, PhiloxNormal(Device{}, Float, PhiloxKey{Stream: stream}, 128, 128, 3, 3))
				}
				return list
			}
			p, g, m, v, a, step := draw(1), draw(2), draw(3), draw(4), draw(5), full(0)
			for _, x := range v {
				x.CopyI(x.Mul(x))
			}
			for b.Loop() {
				Scope(func() {
					TotalNorm(g)
					fusedAdamW(p, g, m, v, step, AdamWOptions{LR: 1e-4, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, EMAs: []EMA{{0.9999, a}}})
				})
			}
		})
	})
}
