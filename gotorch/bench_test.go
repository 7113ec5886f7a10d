package gotorch

import "testing"

// BenchmarkCgoOverhead times one small operator, whose work is next to nothing:
// what is left is the way through cgo, the C ABI and libtorch's dispatcher.
// Inside a scope it must not allocate on Go's heap.
func BenchmarkCgoOverhead(b *testing.B) {
	SetNumThreads(1)
	x, y := Full(nil, 1, false), Full(nil, 2, false)
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
	b.Run("Add", func(b *testing.B) { perOp(b, func() { Add(x, y, 1) }) })
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
			Add(x, y, 1)
		}
	})
}
