package gotorch

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// memoryLimit is the memory bandwidth in bytes per second: reads and writes of a copy
// of 256 MiB, the best of many.
var memoryLimit = sync.OnceValue(func() (limit float64) {
	const size = 256 << 20
	Run(func() {
		Scope(func() {
			a, b := full(1, size/4), full(0, size/4)
			for range 60 {
				start := time.Now()
				b.CopyI(a)
				limit = max(limit, 2*size/time.Since(start).Seconds())
			}
		})
	})
	return limit
})

// BenchmarkLimits times each CPU kernel on tensors larger than the caches, and reports
// its fraction of the memory bandwidth: 1 is as fast as a copy. The bytes are those
// that the kernel reads and writes, forward and backward.
func BenchmarkLimits(b *testing.B) {
	limit := memoryLimit()
	for _, dtype := range []DType{Float, BFloat16} {
		size := dtypeSizes[dtype]
		for _, k := range []limitCase{
			{"GroupNormSilu/forward", func() (int64, func()) { return normForward(largeNorm(Device{}, dtype)) }},
			{"GroupNormSilu/both", func() (int64, func()) { return normForwardBackward(largeNorm(Device{}, dtype)) }},
			{"SelfAttention/both", func() (int64, func()) {
				const heads, c = 4, 256
				n, tokens := int64(32), int64(256)
				if dtype == Float { // whose kernel supports fewer tokens
					n, tokens = 512, 64
				}
				qkv := PhiloxNormal(Device{}, Float, PhiloxKey{}, n, tokens, 3*c).CastTo(dtype)
				qkv.SetRequiresGrad(true)
				return size * n * tokens * (11*heads*tokens + 28*c), func() {
					y := SelfAttention(qkv, heads)
					y.BackwardWith(y.Detach())
					qkv.SetGrad(Tensor{})
				}
			}},
			{"UpsampleWeight/both", func() (int64, func()) {
				const side = 1024
				w := PhiloxNormal(Device{}, Float, PhiloxKey{}, side, side, 3, 3).ChannelsLast()
				w.SetRequiresGrad(true)
				return 2 * side * side * (9*4 + 16*size), func() {
					y := UpsampleWeight(w, dtype)
					y.BackwardWith(y.Detach())
					w.SetGrad(Tensor{})
				}
			}},
			{"PhiloxDropout/forward", func() (int64, func()) {
				x := PhiloxNormal(Device{}, Float, PhiloxKey{}, 32, 1<<20).CastTo(dtype)
				return 4 * size * x.Numel(), func() { x.PhiloxDropout(0.1, PhiloxKey{}) }
			}},
			{"DiffusionLosses/both", onlyFloat(dtype, func() (int64, func()) { return largeLosses(Device{}) })},
			{"DiffusionQSample", onlyFloat(dtype, func() (int64, func()) { return largeQSample(Device{}) })},
			{"DiffusionReverseStep", func() (int64, func()) { return largeReverseStep(Device{}, dtype, true) }},
			{"DiffusionReverseStep/no_noise", func() (int64, func()) { return largeReverseStep(Device{}, dtype, false) }},
			{"PhiloxNormal", onlyFloat(dtype, func() (int64, func()) {
				return 4 << 25, func() { PhiloxNormal(Device{}, Float, PhiloxKey{}, 32, 1<<20) }
			})},
			{"AdamW", onlyFloat(dtype, func() (int64, func()) { return largeUpdate(Device{}, false) })},
			{"ForeachCastTo", func() (int64, func()) {
				if dtype == Float {
					return 0, nil
				}
				weights := largeList(Device{}, 1)
				return (4 + size) << 24, func() { ForeachCastTo(weights, dtype) }
			}},
		} {
			b.Run(fmt.Sprintf("%s/%s", k.name, dtype), func(b *testing.B) {
				Run(func() { Scope(func() { againstLimit(b, limit, k.setUp) }) })
			})
		}
	}
}

// limitCase is a kernel on large tensors: the bytes that it reads and writes, and a
// function that runs it, nil if there is no kernel for the dtype.
type limitCase struct {
	name  string
	setUp func() (bytes int64, run func())
}

// onlyFloat skips other dtypes.
func onlyFloat(dtype DType, setUp func() (int64, func())) func() (int64, func()) {
	if dtype == Float {
		return setUp
	}
	return func() (int64, func()) { return 0, nil }
}

// normForward and normForwardBackward count passes over x: see docs/performance.md.
func normForward(in normInputs) (int64, func()) {
	return 3 * dtypeSizes[in.x.Dtype()] * in.x.Numel(), func() { NoGrad(func() { in.fused(32, true) }) }
}

func normForwardBackward(in normInputs) (int64, func()) {
	gradient := in.x.Detach()
	return 8 * dtypeSizes[in.x.Dtype()] * in.x.Numel(), func() {
		in.fused(32, true).BackwardWith(gradient)
		ZeroGrads(in.list())
	}
}

// againstLimit times the function that setUp returns, which is nil if there is no
// kernel for the dtype.
func againstLimit(b *testing.B, limit float64, setUp func() (int64, func())) {
	bytes, run := setUp()
	if run == nil {
		b.Skip("there is none for this dtype")
	}
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		Scope(run)
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(bytes)/(1<<20), "MiB")
	b.ReportMetric(best.Seconds()*1e3, "best-ms")
	b.ReportMetric(float64(bytes)/best.Seconds()/limit, "of-limit")
	b.ReportMetric(limit/1e9, "limit-GB/s")
}

// largeNorm returns the inputs of a group norm at the first level of a 64-pixel network.
func largeNorm(d Device, dtype DType) normInputs {
	in := newNormInputsOn(d, dtype, true, 32, 128, 64, 64)
	in.x = in.x.Detach().ChannelsLast()
	in.x.SetRequiresGrad(true)
	return in
}

// largeReverseStep returns a step of ancestral sampling with learned variances, or a
// DDIM step without noise.
func largeReverseStep(d Device, dtype DType, noise bool) (int64, func()) {
	if dtype != Float {
		return 0, nil
	}
	x := PhiloxNormal(d, Float, PhiloxKey{}, 32, 3, 256, 256)
	channels, row, o := int64(3), []float32{1.1, -0.4, 0.3, 0.6, 0, 0, 0, 0}, ReverseStepOptions{Clip: true}
	if noise {
		channels, row, o.Noise = 6, []float32{1.1, -0.4, 0.3, 0.6, 0, -3, 0.2, 1}, PhiloxNormal(d, Float, PhiloxKey{Seed: 1}, x.Shape()...)
	}
	out := PhiloxNormal(d, Float, PhiloxKey{Stream: 1}, 32, channels, 256, 256)
	rows := FromFloat32s(row, 1, ReverseStepColumns).To(d).Expand(32, ReverseStepColumns)
	return 4 * (out.Numel() + 3*x.Numel()), func() { DiffusionReverseStep(out, x, rows, o) }
}

// largeList returns 16 M values in 16 tensors.
func largeList(d Device, stream uint32) (list []Tensor) {
	for range 16 {
		list = append(list, PhiloxNormal(d, Float, PhiloxKey{Stream: stream}, 1, 1<<20))
	}
	return list
}

// largeUpdate returns one update of 16 M parameters with one EMA: it reads weights,
// gradients, two moments and the EMA, and writes all but the gradients. With bfloat16
// working weights the gradients are bfloat16, too.
func largeUpdate(d Device, copies bool) (bytes int64, run func()) {
	p, g, m, v, a, step := largeList(d, 1), largeList(d, 2), largeList(d, 3), largeList(d, 4), largeList(d, 5), ZerosOn(d, Float)
	for _, x := range v {
		x.CopyI(x.Mul(x))
	}
	o := AdamWOptions{LR: 1e-4, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, EMAs: []EMA{{0.9999, a}}}
	bytes = 9 * 4 << 24
	if copies {
		g, o.WorkingWeights, bytes = ForeachCastTo(g, BFloat16), ForeachCastTo(p, BFloat16), (8*4+2*2)<<24
	}
	return bytes, func() { fusedAdamW(p, g, m, v, step, o) }
}

// largeLosses returns the terms of L_hybrid and their gradient.
func largeLosses(d Device) (int64, func()) {
	x := PhiloxNormal(d, Float, PhiloxKey{}, 32, 3, 256, 256)
	out := PhiloxNormal(d, Float, PhiloxKey{Stream: 1}, 32, 6, 256, 256)
	out.SetRequiresGrad(true)
	rows := FromFloat32s([]float32{0.1, -2.5, -3.5, -3.5, 1}, 1, LossColumns).To(d).Expand(32, LossColumns)
	return 4 * 10 * x.Numel(), func() {
		mse, vb := DiffusionLosses(out, x, x, rows, true, false)
		mse.Add(vb, 1).Sum().Backward()
		out.SetGrad(Tensor{})
	}
}

// largeQSample returns x_t and its noise.
func largeQSample(d Device) (int64, func()) {
	x := PhiloxNormal(d, Float, PhiloxKey{}, 32, 3, 256, 256)
	rows := FromFloat32s([]float32{0.8, 0.6}, 1, QSampleColumns).To(d).Expand(32, QSampleColumns)
	return 4 * 3 * x.Numel(), func() { DiffusionQSample(x, rows, PhiloxKey{Seed: 1}) }
}
