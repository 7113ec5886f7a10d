package gotorch

import "testing"

// TestConfigure applies settings, reads them back and restores those before.
func TestConfigure(t *testing.T) {
	first := CurrentSettings()
	defer Configure(first)
	for _, s := range []Settings{
		{Threads: 1},
		{Threads: 3, Deterministic: true, BenchmarkCUDNN: true, TF32: TF32Always, NoCPUCache: true},
		{Threads: 2, TF32: TF32Never},
	} {
		before := CurrentSettings()
		if got := Configure(s); got != before {
			t.Errorf("Configure returns %+v, not the settings before, %+v", got, before)
		}
		if got := CurrentSettings(); got != s {
			t.Errorf("the settings are %+v, not %+v", got, s)
		}
	}
	Configure(Settings{})
	if got, want := CurrentSettings(), (Settings{Threads: 2}); got != want {
		t.Errorf("the defaults are %+v, not %+v", got, want)
	}
	for _, threads := range []int{-1, -1 << 62} {
		mustFail(t, func() { Configure(Settings{Threads: threads, Deterministic: true}) })
		if CurrentSettings().Deterministic {
			t.Errorf("Configure with %d threads has changed another setting", threads)
		}
	}
}

// TestDeterministicTraining checks that training works in deterministic mode, though some
// operators have no deterministic algorithm.
func TestDeterministicTraining(t *testing.T) {
	defer Configure(Configure(Settings{Deterministic: true}))
	x := withGrad(ones(2, 2))
	MM(x, x).Sum().Backward()
	checkValues(t, x.Grad(), []float64{4, 4, 4, 4}, 0)
}

func TestCPUCapability(t *testing.T) {
	if c := CPUCapability(); c == "" {
		t.Error("no CPU capability")
	}
	CPUHasBFloat16()
}

// TestCPUMemory follows the bytes of a tensor: in use, cached, and returned to the system.
// Nothing else computes meanwhile.
func TestCPUMemory(t *testing.T) {
	defer Configure(Configure(Settings{}))
	GC()
	EmptyCPUCache()
	const size = 1 << 24
	start := GetCPUMemoryStats()
	if start.Cached != 0 || start.PeakAllocated < start.Allocated {
		t.Fatalf("after emptying the cache: %+v", start)
	}
	check := func(when string, allocated, cached int64) {
		t.Helper()
		m := GetCPUMemoryStats()
		if m.Allocated != start.Allocated+allocated || m.Cached != cached || m.PeakAllocated < m.Allocated {
			t.Errorf("%s: %+v, at first %+v", when, m, start)
		}
	}
	tensor := func() Tensor { return EmptyOn(Device{}, Byte, size) }
	x := tensor()
	check("with a tensor", size, 0)
	x.Free()
	check("after freeing it", 0, size)
	x = tensor()
	check("with another of its size", size, 0)
	x.Free()
	EmptyCPUCache()
	check("with an empty cache", 0, 0)

	x, y := tensor(), tensor()
	x.Free()
	Configure(Settings{NoCPUCache: true})
	check("with the cache switched off", size, 0)
	y.Free() // allocated before
	check("without tensors", 0, 0)
	tensor().Free()
	check("after a tensor without a cache", 0, 0)
	Configure(Settings{})
	tensor().Free()
	check("with the cache switched on again", 0, size)
}
