package data

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// cache keeps the fitted pictures of a set, uint8, in one stretch of memory
// that fills as pictures are read. The memory is the kernel's and not Go's: on
// Go's heap it would let as much garbage gather again before each collection.
type cache struct {
	size  int // bytes of a picture
	pix   []byte
	state []atomic.Uint32 // one per picture: absent, being written, present
}

const (
	absent = iota
	writing
	present
)

// newCache returns a cache for n pictures, or nil where they do not fit in limit
// bytes (Options.CacheBytes), of which this process is one of several sharers.
func newCache(n, size int, limit int64, sharers int) *cache {
	if limit == 0 {
		limit = freeMemory() / 2
	}
	limit /= int64(sharers)
	if int64(n)*int64(size) > limit {
		return nil
	}
	pix, err := syscall.Mmap(-1, 0, n*size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	c := &cache{size: size, pix: pix, state: make([]atomic.Uint32, n)}
	runtime.AddCleanup(c, func(pix []byte) { _ = syscall.Munmap(pix) }, pix)
	return c
}

// get copies picture i to dst if it is there.
func (c *cache) get(dst []byte, i int) bool {
	if c == nil || c.state[i].Load() != present {
		return false
	}
	copy(dst, c.pix[i*c.size:(i+1)*c.size])
	runtime.KeepAlive(c)
	return true
}

// put keeps picture i, unless somebody else does.
func (c *cache) put(src []byte, i int) {
	if c == nil || !c.state[i].CompareAndSwap(absent, writing) {
		return
	}
	copy(c.pix[i*c.size:(i+1)*c.size], src)
	c.state[i].Store(present)
	runtime.KeepAlive(c)
}

// unknownMemory is what is taken to be free where the system does not say.
const unknownMemory = 2 << 30

// freeMemory returns how many bytes this process may still take: what the
// machine has, or what its control group leaves it.
func freeMemory() int64 {
	free := int64(unknownMemory)
	for line := range strings.Lines(readText("/proc/meminfo")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				free = kib << 10
			}
		}
	}
	const group = "/sys/fs/cgroup"
	limit, err1 := strconv.ParseInt(readText(filepath.Join(group, "memory.max")), 10, 64)
	used, err2 := strconv.ParseInt(readText(filepath.Join(group, "memory.current")), 10, 64)
	if err1 == nil && err2 == nil {
		free = min(free, max(limit-used, 0))
	}
	return free
}

func readText(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
