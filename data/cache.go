package data

import (
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"iddpm/internal/cgroup"
)

// cache keeps the preprocessed images of a set, uint8, in one block of memory
// that fills as images are read. The memory comes from mmap: on Go's heap it
// would double the garbage that accumulates before each collection.
type cache struct {
	size  int // bytes of an image
	pix   []byte
	state []atomic.Uint32 // one per image: absent, being written, present
}

const (
	absent = iota
	writing
	present
)

// newCache returns a cache for n images, or nil if they do not fit in this process's
// part of limit bytes (Options.CacheBytes), divided among sharers processes.
func newCache(n, size int, limit int64, sharers int) *cache {
	if limit == 0 {
		limit = cgroup.FreeMemory(os.DirFS("/")) / 2
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

// get copies image i to dst if it is cached.
func (c *cache) get(dst []byte, i int) bool {
	if c == nil || c.state[i].Load() != present {
		return false
	}
	copy(dst, c.pix[i*c.size:(i+1)*c.size])
	runtime.KeepAlive(c)
	return true
}

// put caches image i, unless another goroutine does.
func (c *cache) put(src []byte, i int) {
	if c == nil || !c.state[i].CompareAndSwap(absent, writing) {
		return
	}
	copy(c.pix[i*c.size:(i+1)*c.size], src)
	c.state[i].Store(present)
	runtime.KeepAlive(c)
}
