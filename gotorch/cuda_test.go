//go:build cuda

package gotorch

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// gpu0 loads CUDA. Without a GPU these tests fail: they run only with the tag cuda.
func gpu0(t *testing.T) Device {
	t.Helper()
	if err := LoadCUDA(); err != nil {
		t.Fatal(err)
	}
	before := Configure(Settings{TF32: TF32Never})
	t.Cleanup(func() { Configure(before) })
	return Device{Type: CUDA}
}

func TestCUDADevice(t *testing.T) {
	d := gpu0(t)
	if n := CUDADeviceCount(); n < 1 {
		t.Errorf("%d devices", n)
	}
	p := GetCUDAProperties(d)
	if p.Name == "" || p.Major < 7 || p.Multiprocessors < 1 || p.TotalMemory < 1<<30 || p.FreeMemory > p.TotalMemory {
		t.Errorf("%+v", p)
	}
	t.Logf("%+v", p)
	for _, index := range []int{CUDADeviceCount(), 127, -2} {
		mustFail(t, func() { GetCUDAProperties(Device{Type: CUDA, Index: index}) })
		mustFail(t, func() { newCUDAStream(Device{Type: CUDA, Index: index}) })
	}
	mustFail(t, func() { ZerosOn(Device{Type: CUDA, Index: CUDADeviceCount()}, Float, 1) })
}

// TestCUDAOperators computes values and gradients on the GPU and on the CPU.
func TestCUDAOperators(t *testing.T) {
	gpu := gpu0(t)
	pair := func(v int64) []int64 { return []int64{v} }
	for name, f := range map[string]func(x, w Tensor) Tensor{ // x [2, 8, 6, 6], w [8, 8, 3, 3]
		"arithmetic":  func(x, w Tensor) Tensor { return x.Add(x.MulScalar(3), 0.5).Mul(x).Div(x.Mul(x).AddScalar(1)) },
		"exp":         func(x, w Tensor) Tensor { return x.Exp() },
		"log":         func(x, w Tensor) Tensor { return x.Abs().AddScalar(0.5).Log() },
		"sqrt":        func(x, w Tensor) Tensor { return x.Abs().AddScalar(0.5).Sqrt() },
		"sigmoid":     func(x, w Tensor) Tensor { return x.Sigmoid().Sub(x.Tanh(), 1) },
		"silu":        func(x, w Tensor) Tensor { return x.Silu() },
		"relu":        func(x, w Tensor) Tensor { return x.Relu() },
		"sin and cos": func(x, w Tensor) Tensor { return x.Sin().Mul(x.Cos()) },
		"clamp":       func(x, w Tensor) Tensor { return x.Clamp(-0.5, 0.5).Add(x.ClampMin(0.25), 1) },
		"where":       func(x, w Tensor) Tensor { return Where(x.GreaterScalar(0), x.MulScalar(2), x.Neg()) },
		"addcmul":     func(x, w Tensor) Tensor { return x.Addcmul(x, x, 0.1) },
		"reductions":  func(x, w Tensor) Tensor { return x.SumDims(true, 1).Mul(x.MeanDims(true, 2, 3)) },
		"cumprod":     func(x, w Tensor) Tensor { return x.Cumprod(3) },
		"shapes": func(x, w Tensor) Tensor {
			return Cat([]Tensor{x.Narrow(1, 0, 3), x.Transpose(2, 3).Narrow(1, 2, 4)}, 1).Permute([]int64{0, 2, 3, 1}).Reshape(2, -1)
		},
		"index":       func(x, w Tensor) Tensor { return x.IndexSelect(1, FromInt64s([]int64{3, 3, 0}).To(x.Device())) },
		"matmul":      func(x, w Tensor) Tensor { return MatMul(x, x.Transpose(2, 3)) },
		"linear":      func(x, w Tensor) Tensor { return Linear(x.View(2, -1), w.View(2, -1), Tensor{}) },
		"conv":        func(x, w Tensor) Tensor { return Conv2d(x, w, Tensor{}, pair(1), pair(1), pair(1), 1) },
		"conv stride": func(x, w Tensor) Tensor { return Conv2d(x, w, Tensor{}, pair(2), pair(1), pair(1), 1) },
		"group norm":  func(x, w Tensor) Tensor { return GroupNorm(x, 4, w.View(-1).Narrow(0, 0, 8), Tensor{}, 1e-5) },
		"softmax":     func(x, w Tensor) Tensor { return x.LogSoftmax(2) },
		"attention":   func(x, w Tensor) Tensor { return ScaledDotProductAttention(x, x.MulScalar(0.5), x.Sigmoid()) },
		"pools": func(x, w Tensor) Tensor {
			return MaxPool2d(x, pair(2), pair(2), pair(0), pair(1), false).Add(AvgPool2d(x, pair(2), pair(2), pair(0), true), 1).Add(AvgPool2d(x, pair(3), pair(2), pair(1), false), 1).Add(AdaptiveAvgPool2d(x, pair(3)), 1)
		},
		"upsample": func(x, w Tensor) Tensor { return UpsampleNearest2d(x, 12, 12).Add(UpsampleBilinear2d(x, 12, 12), 1) },
		"embedding": func(x, w Tensor) Tensor {
			return Embedding(w.View(64, 9), FromInt64s([]int64{5, 5, 63}).To(x.Device()))
		},
		"losses": func(x, w Tensor) Tensor {
			target := x.Detach().Narrow(1, 0, 4).MulScalar(0.5)
			rows := FromFloat32s([]float32{0.5, -1, -2, -2, 1, 0.1, -1, -2, -1, 0}, 2, LossColumns).To(x.Device())
			mse, vb := DiffusionLosses(x, target, target.Clamp(-1, 1), rows, true, true)
			return mse.Add(vb, 1)
		},
		"dropout": func(x, w Tensor) Tensor { return x.PhiloxDropout(0.4, PhiloxKey{Seed: 5}) },
	} {
		t.Run(name, func(t *testing.T) {
			compute := func(d Device, channelsLast bool) (values, gx, gw []float64) {
				Scope(func() {
					x := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 1}, 2, 8, 6, 6).Contiguous().To(d)
					w := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 2}, 8, 8, 3, 3).Contiguous().To(d)
					if channelsLast {
						x = x.ChannelsLast()
					}
					x.SetRequiresGrad(true)
					w.SetRequiresGrad(true)
					y := f(x, w)
					if y.Device().Type != d.Type {
						t.Fatalf("the result is on %v", y.Device())
					}
					y.Mul(y).Sum().Backward()
					values, gx, gw = y.Float64s(), gradient(x), gradient(w)
				})
				return values, gx, gw
			}
			values, gx, gw := compute(Device{}, false)
			for _, channelsLast := range []bool{false, true} {
				if channelsLast && slices.Contains([]string{"linear"}, name) {
					continue // it takes a view that channels-last has not
				}
				v, x, w := compute(gpu, channelsLast)
				near(t, "values", v, values)
				near(t, "gradient of x", x, gx)
				near(t, "gradient of w", w, gw)
			}
		})
	}
}

// gradient returns nil for a tensor without a gradient.
func gradient(x Tensor) []float64 {
	if g := x.Grad(); g.Defined() {
		return g.Float64s()
	}
	return nil
}

// near compares with a tolerance, since sums may have another order.
func near(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	largest := 1.0
	for _, v := range want {
		largest = max(largest, math.Abs(v))
	}
	for i := range got {
		if !close64(got[i], want[i], 1e-4) && math.Abs(got[i]-want[i]) > 1e-5*largest {
			t.Fatalf("%s: element %d is %v, on the CPU %v", what, i, got[i], want[i])
		}
	}
}

func TestCUDAGraph(t *testing.T) { checkGraph(t, gpu0(t)) }

func TestCUDADiffusionSteps(t *testing.T) {
	gpu := gpu0(t)
	checkQSample(t, gpu)
	checkReverseStep(t, gpu, 1e-5)
	x, rows := ZerosOn(gpu, Float, 1, 3, 4, 4), zeros(1, ReverseStepColumns)
	for _, call := range []func(){
		func() { DiffusionReverseStep(x, x, rows, ReverseStepOptions{}) },
		func() { DiffusionReverseStep(x.To(Device{}), x, rows.To(gpu), ReverseStepOptions{}) },
		func() { DiffusionReverseStep(x, x, rows.To(gpu), ReverseStepOptions{Noise: x.To(Device{})}) },
		func() { DiffusionQSample(x, rows.Narrow(1, 0, QSampleColumns), PhiloxKey{}) },
	} {
		if err := mustFail(t, call); !strings.Contains(err.Message, "float32 tensors of one device") {
			t.Errorf("tensors of two devices: %v", err)
		}
	}
}

func TestCUDALinearEach(t *testing.T) { checkLinearEach(t, gpu0(t)) }

func TestCUDAResidualAdd(t *testing.T) { checkResidualAdd(t, gpu0(t), Float, BFloat16, Half) }

// TestCUDAAttention compares 16-bit attention, values and gradients, with float64 on the
// CPU. Deterministic mode would exclude cuDNN's attention.
func TestCUDAAttention(t *testing.T) {
	gpu := gpu0(t)
	tolerances := map[DType]float64{Float: 1e-4, Half: 4e-3}
	if GetCUDAProperties(gpu).Major >= 8 {
		tolerances[BFloat16] = 3e-2
	}
	for _, s := range []struct{ n, t, heads, d int64 }{{2, 256, 4, 32}, {2, 64, 4, 96}, {1, 1024, 2, 64}, {3, 16, 2, 8}, {2, 35, 3, 40}} {
		for dtype, tolerance := range tolerances {
			t.Run(fmt.Sprint(s, dtype), func(t *testing.T) {
				Scope(func() {
					qkv := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 1}, s.n, s.t, 3*s.heads*s.d).MulScalar(1.5).CastTo(dtype)
					exact, qkv := qkv.CastTo(Double), qkv.To(gpu)
					qkv.SetRequiresGrad(true)
					exact.SetRequiresGrad(true)
					want := withGradient(exact, SelfAttention(exact, s.heads))
					got := withGradient(qkv, SelfAttention(qkv, s.heads))
					for k, name := range []string{"y", "dqkv"} {
						if d, largest := furthest(got[k], want[k]); d > tolerance*max(largest, 1) {
							t.Errorf("%s differs by %g of %g", name, d, largest)
						}
					}
				})
			})
		}
	}
}

func TestCUDAGroupNormSilu(t *testing.T) {
	checkGroupNormSilu(t, gpu0(t), map[DType]float64{Float: 1e-4, BFloat16: 2e-2, Half: 4e-3})
	checkGroupNormSiluSkip(t, gpu0(t), map[DType]float64{Float: 1e-4, BFloat16: 2e-2, Half: 4e-3})
	checkGroupNormSiluConcat(t, gpu0(t), map[DType]float64{Float: 1e-6, BFloat16: 1e-2, Half: 2e-3})
	checkGroupNormSiluInputBias(t, gpu0(t), map[DType]float64{Float: 1e-4, BFloat16: 3e-2, Half: 6e-3})
}

// TestCUDAPhilox compares uniform numbers and masks bit for bit, and normal numbers
// within a few units in the last place, by which logf, sinf and cosf may differ.
func TestCUDAPhilox(t *testing.T) {
	gpu := gpu0(t)
	for _, key := range philoxKeys {
		for _, shape := range [][]int64{{}, {1}, {5}, {0, 3}, {7, 13}, {4, 3, 5, 6}, {3, 1 << 18}} {
			Scope(func() {
				uniform := PhiloxUniform(gpu, Float, key, shape...)
				if !Equal(uniform.To(Device{}), PhiloxUniform(Device{}, Float, key, shape...)) {
					t.Errorf("%+v %v: uniform numbers differ", key, shape)
				}
				z, want := PhiloxNormal(gpu, Float, key, shape...), PhiloxNormal(Device{}, Float, key, shape...)
				if z.Numel() > 0 {
					if worst := z.To(Device{}).Sub(want, 1).Abs().Max().Float64(); worst > 4e-6 {
						t.Errorf("%+v %v: normal numbers differ by %v", key, shape, worst)
					}
				}
				for _, dtype := range []DType{Float, Double, Half, BFloat16} {
					ones := FullOn(Device{}, dtype, 1, shape...)
					if !Equal(ones.To(gpu).PhiloxDropout(0.3, key).To(Device{}), ones.PhiloxDropout(0.3, key)) {
						t.Errorf("%+v %v: the %s mask differs", key, shape, dtype)
					}
				}
			})
		}
	}
	Scope(func() { // more quads than the largest grid has threads
		const n = 1<<26 + 5
		key := PhiloxKey{Seed: 3}
		if !Equal(PhiloxUniform(gpu, Float, key, 1, n).To(Device{}), PhiloxUniform(Device{}, Float, key, 1, n)) {
			t.Error("a long row differs")
		}
	})
	mustFail(t, func() { ZerosOn(gpu, Long, 2).PhiloxDropout(0.5, PhiloxKey{}) })
}

func TestCUDACopies(t *testing.T) {
	gpu := gpu0(t)
	for dtype := range dtypeSizes {
		Scope(func() {
			x := FromInt64s([]int64{1, 0, 1, 1, 0, 0}, 2, 3).CastTo(dtype)
			for name, there := range map[string]Tensor{
				"To":         x.To(gpu),
				"CUDA":       x.CUDA(gpu, false),
				"pinned":     x.PinMemory().CUDA(gpu, true),
				"transposed": x.Transpose(0, 1).To(gpu).Transpose(0, 1),
			} {
				if there.Device() != gpu || there.Dtype() != dtype || !Equal(there.To(Device{}), x) {
					t.Errorf("%s of %s: %v", name, dtype, there)
				}
				if string(there.Bytes()) != string(x.Bytes()) {
					t.Errorf("%s of %s: the bytes differ", name, dtype)
				}
			}
			back := EmptyLike(x)
			back.CopyI(x.To(gpu))
			if !Equal(back, x) {
				t.Errorf("CopyI of %s: %v", dtype, back)
			}
			if v := x.To(gpu, Float).Sum().Float64(); v != 3 {
				t.Errorf("the sum of %s is %v", dtype, v)
			}
		})
	}
}

func TestCUDAStreams(t *testing.T) {
	gpu := gpu0(t)
	Run(func() {
		Scope(func() {
			usual, side := currentCUDAStream(gpu), newCUDAStream(gpu)
			if side == usual {
				t.Fatal("a new stream is the current one")
			}
			x := FullOn(gpu, Float, 1, 1024, 1024)
			CUDASynchronize(gpu)
			side.setCurrent()
			if currentCUDAStream(gpu) != side {
				t.Error("setCurrent changed nothing")
			}
			for range 20 {
				x = MM(x, x).MulScalar(1. / 1024)
			}
			CUDASynchronize(gpu)
			usual.setCurrent()
			if v := x.Mean().Float64(); v != 1 {
				t.Errorf("the side stream computed %v", v)
			}
			CUDASynchronize(gpu)
		})
	})
	mustFail(t, func() { cudaStream{}.setCurrent() })
}

// TestCUDAMemory checks the allocator's statistics as a scope allocates and frees.
func TestCUDAMemory(t *testing.T) {
	gpu := gpu0(t)
	checkLive(t)
	const size = 64 << 20
	ZerosOn(gpu, Byte, 1).Free()
	before := GetCUDAMemoryStats(gpu)
	Scope(func() {
		ZerosOn(gpu, Byte, size)
		if m := GetCUDAMemoryStats(gpu); m.Allocated != before.Allocated+size || m.Reserved < m.Allocated {
			t.Errorf("inside %+v, before %+v", m, before)
		}
	})
	after := GetCUDAMemoryStats(gpu)
	if after.Allocated != before.Allocated || after.PeakAllocated < before.Allocated+size {
		t.Errorf("after %+v, before %+v", after, before)
	}
	EmptyCUDACache()
	if m := GetCUDAMemoryStats(gpu); m.Reserved >= after.Reserved {
		t.Errorf("emptying the cache left %+v, before %+v", m, after)
	}
	err := mustFail(t, func() { EmptyOn(gpu, Byte, 1<<45) })
	if !strings.Contains(err.Message, "out of memory") {
		t.Errorf("allocating 32 TiB: %v", err)
	}
	if v := FullOn(gpu, Float, 2).MulScalar(3).Float64(); v != 6 {
		t.Errorf("after running out of memory, 2 x 3 is %v", v)
	}
}

// TestCUDATraining trains as TestTrainingKeepsMemoryFlat does, and compares the losses
// with the CPU's.
func TestCUDATraining(t *testing.T) {
	gpu := gpu0(t)
	checkLive(t)
	Run(func() {
		here, there := newTinyNet(Device{}), newTinyNet(gpu)
		defer here.close()
		defer there.close()
		for i := range uint32(3) {
			if a, b := here.step(i), there.step(i); !close64(b, a, 1e-3) {
				t.Errorf("step %d: the loss is %v, on the CPU %v", i, b, a)
			}
		}
		for i := range uint32(100) {
			there.step(i)
		}
		live, memory := LiveTensors(), GetCUDAMemoryStats(gpu).Allocated
		for i := range uint32(500) {
			there.step(100 + i)
			if l, m := LiveTensors(), GetCUDAMemoryStats(gpu).Allocated; l != live || m != memory {
				t.Fatalf("step %d: %d tensors live in %d bytes, at first %d in %d", i, l, m, live, memory)
			}
		}
	})
}

// TestCUDALists compares the list operators and AdamW.
func TestCUDALists(t *testing.T) {
	gpu := gpu0(t)
	compute := func(d Device) []float64 {
		var all []Tensor
		var out []float64
		Scope(func() {
			list := func(seed uint64) (l []Tensor) {
				for i, shape := range [][]int64{{3}, {2, 5}, {4, 3, 3, 3}} {
					l = append(l, PhiloxNormal(Device{}, Float, PhiloxKey{Seed: seed, Stream: uint32(i)}, shape...).Contiguous().To(d))
				}
				return l
			}
			p, g, m, v := list(1), list(2), list(3), list(4)
			for i := range v {
				v[i] = v[i].Abs()
				g[i] = g[i].Clone()
			}
			g[2] = g[2].ChannelsLast() // lies otherwise than its parameter
			step := ZerosOn(d, Float)
			fusedAdamW(p, g, m, v, step, AdamWOptions{LR: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1})
			norm := TotalNorm(g)
			ForeachMulI(g, ClipCoefficient(norm, 0.5))
			ForeachAddI(v, g, 2)
			ForeachMulI(v, FullOn(d, Float, 3))
			ForeachCopyI(g, m)
			for _, l := range [][]Tensor{p, g, m, v, {norm, step, TotalNorm(p)}} {
				for _, x := range l {
					all = append(all, x.Reshape(-1))
				}
			}
			out = Cat(all, 0).Float64s()
		})
		return out
	}
	near(t, "the lists", compute(gpu), compute(Device{}))
}

func TestCUDAGenerator(t *testing.T) {
	gpu := gpu0(t)
	draw := func(g *Generator) []float32 {
		x := EmptyOn(gpu, Float, 1000)
		x.NormalI(0, 1, g)
		return x.Float32s()
	}
	g := NewGenerator(gpu, 7)
	first, second := draw(g), draw(g)
	if !slices.Equal(first, draw(NewGenerator(gpu, 7))) || slices.Equal(first, second) {
		t.Error("a seed does not give the same numbers, or a generator repeats itself")
	}
}

func TestCUDARefusals(t *testing.T) {
	gpu := gpu0(t)
	x := ZerosOn(gpu, Float, 2)
	if err := mustFail(t, func() { x.Add(zeros(2), 1) }); !strings.Contains(err.Message, "same device") {
		t.Errorf("adding across devices: %v", err)
	}
	if err := mustFail(t, func() { x.SetGrad(zeros(2)) }); !strings.Contains(err.Message, "on cpu for a tensor") {
		t.Errorf("a gradient on another device: %v", err)
	}
	mustFail(t, func() { x.Add(ZerosOn(gpu, Float, 3), 1) })
}

// TestCUDAGraphRefused captures work that waits for the device, which fails: the work runs
// eagerly, and the next graph can be captured.
func TestCUDAGraphRefused(t *testing.T) {
	gpu := gpu0(t)
	Run(func() {
		times, told := 0, 0
		x := ZerosOn(gpu, Float, 8)
		defer x.Free()
		g := NewGraph(gpu, func() {
			Scope(func() {
				x.AddScalarI(1)
				x.Sum().Float64()
			})
			times++
		})
		g.OnCaptureFailed = func(error) { told++ }
		for range 3 {
			g.Run()
		}
		if told != 1 {
			t.Errorf("OnCaptureFailed was called %d times", told)
		}
		if g.Err() == nil || times != 3 {
			t.Errorf("the work was done %d times, and the graph says %v", times, g.Err())
		}
		g.Close()
		x.NormalI(0, 1, NewGenerator(gpu, 1)) // random numbers are none the worse, either
		before := GetCUDAMemoryStats(gpu)
		checkGraph(t, gpu)
		EmptyCUDACache()
		if after := GetCUDAMemoryStats(gpu); after.Reserved > before.Reserved {
			t.Errorf("%d bytes are held, before %d", after.Reserved, before.Reserved)
		}
	})
}

// TestCUDAProcessGroup runs NCCL collectives in a group of one process, eagerly and in a
// graph: sums equal their inputs.
func TestCUDAProcessGroup(t *testing.T) {
	gpu := gpu0(t)
	asGroup(t, 1, func(g *ProcessGroup) {
		x := ArangeOn(gpu, Float, 0, 32, 1).View(2, 4, 2, 2).ChannelsLast()
		want := x.Float64s()
		mustFail(t, func() { allReduce(g, []Tensor{x}) })
		g.UseGPU(gpu)
		var all Tensor
		graph := NewGraph(gpu, func() {
			allReduce(g, []Tensor{x, x.Narrow(0, 1, 1)})
			g.AllReduceAsyncI([]Tensor{x})
			g.Wait()
			all.Free()
			all = g.AllGather(x.MulScalar(2)).MoveOut()
		})
		defer graph.Close()
		g.BroadcastI([]Tensor{x}, 0)
		for range 4 {
			graph.Run()
			checkValues(t, x, want, 0)
			checkShape(t, all, 1, 2, 4, 2, 2)
			checkValues(t, all.MulScalar(0.5), want, 0)
		}
		if err := graph.Err(); err != nil {
			t.Error(err)
		}
		mustFail(t, func() { allReduce(g, []Tensor{x.Transpose(0, 1).Narrow(0, 0, 2)}) })
		mustFail(t, func() { allReduce(g, []Tensor{x, zeros(1)}) })
	})
}
