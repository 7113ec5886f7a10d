//go:build cuda

package gotorch

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkCUDALimits times each CUDA kernel on tensors of the networks' sizes, and reports
// its fraction of the memory bandwidth, as BenchmarkLimits does for CPU kernels. Small
// tensors stay in the cache, so their fractions may exceed 1. A CUDA graph has 100 copies
// of the kernel, so that its launch and the wait for its end count only a hundredth.
func BenchmarkCUDALimits(b *testing.B) {
	if err := LoadCUDA(); err != nil {
		b.Fatal(err)
	}
	gpu := Device{Type: CUDA}
	b.Log(GetCUDAProperties(gpu).Name)
	limit := gpuLimit(gpu)
	for _, dtype := range []DType{Float, BFloat16} {
		size := dtypeSizes[dtype]
		for _, k := range []limitCase{
			{"GroupNormSilu/forward", func() (int64, func()) { return normForward(largeNorm(gpu, dtype)) }},
			{"GroupNormSilu/both", func() (int64, func()) { return normForwardBackward(largeNorm(gpu, dtype)) }},
			{"GroupNormSilu/few_pixels/forward", func() (int64, func()) { return normForward(smallNorm(gpu, dtype)) }},
			{"GroupNormSilu/few_pixels/both", func() (int64, func()) { return normForwardBackward(smallNorm(gpu, dtype)) }},
			{"GroupNormSilu/joined/forward", func() (int64, func()) {
				in, rest, both := largeNorm(gpu, dtype), largeNorm(gpu, dtype), newNormInputsOn(gpu, dtype, false, 1, 256, 1, 1)
				return (3 + 1) * 2 * size * in.x.Numel(), func() {
					NoGrad(func() { GroupNormSiluConcat(in.x, rest.x, 32, both.weight, both.bias, 1e-5, GroupNormSiluOptions{}) })
				}
			}},
			{"ResidualAdd/forward", func() (int64, func()) {
				in, h := largeNorm(gpu, dtype), largeNorm(gpu, dtype)
				bias := ZerosOn(gpu, Float, 128)
				return 3 * size * in.x.Numel(), func() { NoGrad(func() { ResidualAdd(in.x, h.x, bias) }) }
			}},
			{"DiffusionLosses/both", onlyFloat(dtype, func() (int64, func()) { return largeLosses(gpu) })},
			{"DiffusionQSample", onlyFloat(dtype, func() (int64, func()) { return largeQSample(gpu) })},
			{"DiffusionReverseStep", func() (int64, func()) { return largeReverseStep(gpu, dtype, true) }},
			{"DiffusionReverseStep/no_noise", func() (int64, func()) { return largeReverseStep(gpu, dtype, false) }},
			{"PhiloxNormal", onlyFloat(dtype, func() (int64, func()) {
				return 4 << 25, func() { PhiloxNormal(gpu, Float, PhiloxKey{}, 32, 1<<20) }
			})},
			{"AdamW", func() (int64, func()) { return largeUpdate(gpu, dtype == BFloat16) }},
		} {
			b.Run(fmt.Sprintf("%s/%s", k.name, dtype), func(b *testing.B) {
				Run(func() { Scope(func() { capturedAgainstLimit(b, gpu, limit, k.setUp) }) })
			})
		}
	}
}

// smallNorm returns inputs of a group norm whose forward and backward pass are one kernel each.
func smallNorm(d Device, dtype DType) normInputs {
	in := newNormInputsOn(d, dtype, true, 32, 512, 8, 8)
	in.x = in.x.Detach().ChannelsLast()
	in.x.SetRequiresGrad(true)
	return in
}

// copiesInGraph is how often a graph contains the kernel.
const copiesInGraph = 100

// captured returns the seconds of one run in a CUDA graph, the best of many.
func captured(b *testing.B, gpu Device, run func()) (best float64) {
	graph := NewGraph(gpu, func() {
		for range copiesInGraph {
			Scope(run)
		}
	})
	defer graph.Close()
	graph.Run()
	graph.Run()
	if err := graph.Err(); err != nil {
		b.Fatal(err)
	}
	best = 1e9
	for range 20 {
		CUDASynchronize(gpu)
		start := time.Now()
		graph.Run()
		CUDASynchronize(gpu)
		best = min(best, time.Since(start).Seconds()/copiesInGraph)
	}
	return best
}

// gpuLimit is how many bytes per second a copy of 1 GiB reads and writes.
func gpuLimit(gpu Device) (limit float64) {
	const size = 1 << 30
	Run(func() {
		Scope(func() {
			x, y := ZerosOn(gpu, Byte, size), EmptyOn(gpu, Byte, size)
			for range 20 {
				CUDASynchronize(gpu)
				start := time.Now()
				for range 10 {
					y.CopyI(x)
				}
				CUDASynchronize(gpu)
				limit = max(limit, 2*size*10/time.Since(start).Seconds())
			}
		})
	})
	return limit
}

// capturedAgainstLimit is againstLimit for a CUDA graph.
func capturedAgainstLimit(b *testing.B, gpu Device, limit float64, setUp func() (int64, func())) {
	bytes, run := setUp()
	if run == nil {
		b.Skip("there is none for this dtype")
	}
	var seconds float64
	for b.Loop() {
		seconds = captured(b, gpu, run)
	}
	b.ReportMetric(float64(bytes)/(1<<20), "MiB")
	b.ReportMetric(seconds*1e6, "best-us")
	b.ReportMetric(float64(bytes)/seconds/limit, "of-limit")
	b.ReportMetric(limit/1e9, "limit-GB/s")
}
