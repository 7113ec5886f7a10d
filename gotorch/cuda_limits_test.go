//go:build cuda

package gotorch

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkCUDALimits times each CUDA kernel on tensors of the networks' sizes, and says
// what share of the memory's bandwidth it takes, as BenchmarkLimits does of the CPU's.
// Small tensors stay in the cache, and their shares may be above 1. Of a CUDA graph's
// launch, and of waiting for its end, a hundredth is counted: it has the kernel so often.
func BenchmarkCUDALimits(b *testing.B) {
	if err := LoadCUDA(); err != nil {
		b.Fatal(err)
	}
	gpu := Device{Type: CUDA}
	b.Log(GetCUDAProperties(gpu).Name)
	limit := gpuLimit(gpu)
	for _, dtype := range []int8{Float, BFloat16} {
		size := dtypeSize[dtype]
		for _, k := range []limitCase{
			{"GroupNormSilu/forward", func() (int64, func()) { return normForward(largeNorm(gpu, dtype)) }},
			{"GroupNormSilu/both", func() (int64, func()) { return normBothWays(largeNorm(gpu, dtype)) }},
			{"GroupNormSilu/few_pixels/forward", func() (int64, func()) { return normForward(smallNorm(gpu, dtype)) }},
			{"GroupNormSilu/few_pixels/both", func() (int64, func()) { return normBothWays(smallNorm(gpu, dtype)) }},
			{"GroupNormSilu/joined/forward", func() (int64, func()) {
				in, rest, both := largeNorm(gpu, dtype), largeNorm(gpu, dtype), newNormInputsOn(gpu, dtype, false, 1, 256, 1, 1)
				return (3 + 1) * 2 * size * in.x.Numel(), func() {
					NoGrad(func() { GroupNormSiluJoined(in.x, rest.x, 32, both.weight, both.bias, 1e-5, GroupNormSiluOptions{}) })
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
			b.Run(fmt.Sprintf("%s/%s", k.name, DtypeName(dtype)), func(b *testing.B) {
				Run(func() { Scope(func() { recordedAgainstLimit(b, gpu, limit, k.setUp) }) })
			})
		}
	}
}

// smallNorm returns a norm's inputs where each way is one kernel.
func smallNorm(d Device, dtype int8) normInputs {
	in := newNormInputsOn(d, dtype, true, 32, 512, 8, 8)
	in.x = in.x.Detach().ChannelsLast()
	in.x.SetRequiresGrad(true)
	return in
}

// inARow is how often a kernel is recorded.
const inARow = 100

// recorded returns the seconds of one run, the best of many.
func recorded(b *testing.B, gpu Device, run func()) (best float64) {
	graph := NewGraph(gpu, func() {
		for range inARow {
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
		best = min(best, time.Since(start).Seconds()/inARow)
	}
	return best
}

// gpuLimit is how many bytes a second a copy of a GiB reads and writes.
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

// recordedAgainstLimit is againstLimit of a CUDA graph.
func recordedAgainstLimit(b *testing.B, gpu Device, limit float64, setUp func() (int64, func())) {
	bytes, run := setUp()
	if run == nil {
		b.Skip("there is none for this dtype")
	}
	var seconds float64
	for b.Loop() {
		seconds = recorded(b, gpu, run)
	}
	b.ReportMetric(float64(bytes)/(1<<20), "MiB")
	b.ReportMetric(seconds*1e6, "best-us")
	b.ReportMetric(float64(bytes)/seconds/limit, "of-limit")
	b.ReportMetric(limit/1e9, "limit-GB/s")
}
