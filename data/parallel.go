package data

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f with 0..n-1, in that order, on all cores. It stops at the
// first error, or when ctx ends, and returns that once all calls have returned.
func parallel(ctx context.Context, n int, f func(i int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					stop(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// progress counts finished items from several goroutines and reports them to a callback.
type progress struct {
	mu    sync.Mutex
	done  int
	total int
	tell  func(done, total int)
}

func (p *progress) add(n int) {
	if p.tell == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.tell(p.done, p.total)
}
