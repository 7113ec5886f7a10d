package data

import (
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
)

// cache keeps the fitted images of a set, uint8, in one stretch of memory
// that fills as images are read. The memory is the kernel's and not Go's: on
// Go's heap it would let as much garbage gather again before each collection.
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

// newCache returns a cache for n images, or nil where they do not fit in limit
// bytes (Options.CacheBytes), of which this process is one of several sharers.
func newCache(n, size int, limit int64, sharers int) *cache {
	if limit == 0 {
		limit = freeMemory(os.DirFS("/")) / 2
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

// get copies image i to dst if it is there.
func (c *cache) get(dst []byte, i int) bool {
	if c == nil || c.state[i].Load() != present {
		return false
	}
	copy(dst, c.pix[i*c.size:(i+1)*c.size])
	runtime.KeepAlive(c)
	return true
}

// put keeps image i, unless somebody else does.
func (c *cache) put(src []byte, i int) {
	if c == nil || !c.state[i].CompareAndSwap(absent, writing) {
		return
	}
	copy(c.pix[i*c.size:(i+1)*c.size], src)
	c.state[i].Store(present)
	runtime.KeepAlive(c)
}
