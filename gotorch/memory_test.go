package gotorch

import (
	"syscall"
	"testing"
)

// TestMemoryIsReused allocates and frees the same tensors repeatedly: after the first
// round the allocator reuses their pages, so the kernel need not clear new ones.
func TestMemoryIsReused(t *testing.T) {
	round := func() {
		Scope(func() {
			for _, mib := range []int64{1, 5, 16, 33} {
				ZerosOn(Device{}, Byte, mib<<20)
			}
		})
	}
	round()
	before := pageFaults(t)
	for range 20 {
		round()
	}
	if faults := pageFaults(t) - before; faults > 55<<20/4096 {
		t.Errorf("%d page faults in 20 rounds, where one round has 14080 pages", faults)
	}
}

func pageFaults(t *testing.T) int64 {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Minflt
}

// TestMemoryIsGivenBack allocates a tensor of each of many sizes: cached blocks of
// sizes that are not allocated again must not accumulate.
func TestMemoryIsGivenBack(t *testing.T) {
	before := resident(t)
	for mib := int64(8); mib < 40; mib++ {
		Scope(func() { ZerosOn(Device{}, Byte, mib<<20) })
	}
	if grown := resident(t) - before; grown > 256<<20 {
		t.Errorf("%d MiB more are resident after tensors of at most 39 MiB each, 744 MiB in total", grown>>20)
	}
}
