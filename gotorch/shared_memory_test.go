package gotorch

import (
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// sharingMemory is asGroup, where all-reduces must go through shared memory.
func sharingMemory(t *testing.T, size int, f func(g *ProcessGroup)) {
	t.Helper()
	asGroup(t, size, func(g *ProcessGroup) {
		if reason := g.GlooReason(); reason != "" {
			t.Fatalf("the ranks do not share memory: %s", reason)
		}
		f(g)
	})
}

// One rank that cannot share memory has all of them use gloo, for which each knows the reason.
func TestSharedMemoryFallback(t *testing.T) {
	for name, test := range map[string]struct {
		edit   func(o *ProcessGroupOptions)
		reason string
	}{
		"TurnedOff": {func(o *ProcessGroupOptions) { o.NoSharedMemory = o.Rank == 1 }, "rank 1: shared memory is turned off"},
		"NoRoom": {func(o *ProcessGroupOptions) {
			if o.Rank == 0 {
				limitFiles(t, 1<<20)
			}
		}, "rank 0: allocating 6 MiB of shared memory: File too large"},
	} {
		t.Run(name, func(t *testing.T) {
			asGroupWith(t, 3, test.edit, func(g *ProcessGroup) {
				if got := g.GlooReason(); got != test.reason {
					t.Errorf("%q, not %q", got, test.reason)
				}
				testCollectives(t)(g)
			})
		})
	}
}

// limitFiles keeps files, shared memory among them, from growing beyond n bytes.
func limitFiles(t *testing.T, n uint64) {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		t.Fatal(err)
	}
}

// Sums add up the ranks in their order, 16-bit ones in float32, and are rounded once.
func TestSharedMemoryRounding(t *testing.T) {
	sharingMemory(t, 4, func(g *ProcessGroup) {
		for _, test := range []struct { // one order in all processes
			dtype      DType
			first, sum float64
		}{
			{Half, 2048, 2052},           // 2051, where 2048+1 is 2048
			{BFloat16, 256, 260},         // 259, where 256+1 is 256
			{Float, 1 << 24, 1 << 24},    // where 1+1+1+2^24 is another number
			{Double, 1 << 24, 1<<24 + 3}, // exact
			{Long, 1 << 40, 1<<40 + 3},
			{Int, 1 << 24, 1<<24 + 3},
		} {
			mine := 1.0
			if g.rank == 0 {
				mine = test.first
			}
			x := FullOn(Device{}, test.dtype, mine, 1000)
			allReduce(g, []Tensor{x})
			want := FullOn(Device{}, test.dtype, test.sum, 1000)
			if !Equal(x, want) {
				t.Errorf("%s: %v, not %v", test.dtype, x.CastTo(Double).Float64s()[:3], test.sum)
			}
		}
	})
}

// Sums are those in rank order to the bit, however tensors are put together: across chunks of
// shared memory, of one element, in other layouts, and with gaps.
func TestSharedMemoryBuckets(t *testing.T) {
	for _, size := range []int{2, 3} {
		t.Run(string('0'+rune(size)), func(t *testing.T) { sharingMemory(t, size, func(g *ProcessGroup) { testBuckets(t, g) }) })
	}
}

func testBuckets(t *testing.T, g *ProcessGroup) {
	for _, dtype := range []DType{Float, BFloat16, Half} {
		var mine, want []Tensor
		for i, shape := range [][]int64{{1}, {300001}, {3, 64, 65}, {2, 5, 7, 11}, {1 << 19}, {63}} {
			x := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: uint64(g.rank), Stream: uint32(i)}, shape...).CastTo(dtype)
			if len(shape) == 4 {
				x = x.ChannelsLast()
			}
			mine = append(mine, x)
			all := g.AllGather(x.Contiguous())
			sum := all.Select(0, 0).CastTo(Float)
			for rank := 1; rank < g.size; rank++ {
				sum = sum.Add(all.Select(0, int64(rank)).CastTo(Float), 1)
			}
			want = append(want, sum.CastTo(dtype))
		}
		for _, buckets := range [][][]int{{{0, 1, 2, 3, 4, 5}}, {{0}, {1}, {2}, {3}, {4}, {5}}, {{0, 4}, {5, 3}, {1, 2}}} {
			got := make([]Tensor, len(mine))
			for i, x := range mine {
				got[i] = x.Clone()
			}
			for _, bucket := range buckets {
				var list []Tensor
				for _, i := range bucket {
					list = append(list, got[i])
				}
				g.AllReduceAsyncI(list)
			}
			g.Wait()
			for i := range got {
				if !Equal(got[i], want[i]) {
					t.Errorf("%s, %v: tensor %d differs", dtype, buckets, i)
				}
			}
		}
	}
}

// What lies between the elements of a tensor is left alone.
func TestSharedMemoryViews(t *testing.T) {
	sharingMemory(t, 2, func(g *ProcessGroup) {
		x := FullOn(Device{}, Float, 1, 3, 4)
		allReduce(g, []Tensor{x.Narrow(1, 1, 2), zeros(0), x.Select(1, 3)})
		allReduce(g, []Tensor{zeros(2, 0)})
		checkValues(t, x, slices.Repeat([]float64{1, 2, 2, 2}, 3), 0)
	})
}

// Sums of what does not belong together are refused in all ranks.
func TestSharedMemoryMismatch(t *testing.T) {
	sharingMemory(t, 3, func(g *ProcessGroup) {
		x := zeros(4)
		if g.rank == 1 {
			x = x.View(2, 2)
		}
		if err := mustFail(t, func() { allReduce(g, []Tensor{x}) }); !strings.Contains(err.Message, "differ in number, shape, strides or dtype") {
			t.Error(err)
		}
		if err := mustFail(t, func() { allReduce(g, []Tensor{x}) }); !strings.Contains(err.Message, "before this one has failed") {
			t.Error(err)
		}
	})
}
