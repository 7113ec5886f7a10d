package gotorch

// #include "iddpm.h"
import "C"

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
)

// Scope runs f; the tensors that f makes on this goroutine die when it
// returns, in one C call. Scopes nest. The goroutine is locked to its OS thread
// meanwhile, because the stack of scopes belongs to the thread.
func Scope(f func()) {
	mustLoad()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	C.gt_scope_push()
	defer C.gt_scope_pop()
	f()
}

// MoveOut hands t to the scope outside the one that it was made in, and returns
// it; without an outer scope it becomes unscoped. An unscoped tensor stays what
// it is. Go on with the handle that is returned: only that one keeps an unscoped
// tensor alive.
func (t Tensor) MoveOut() Tensor {
	if t.slot == nil || t.owner != nil {
		return t
	}
	check("MoveOut", C.gt_scope_move_out(t.defined("MoveOut")))
	return own(t.slot)
}

// Unscoped takes t out of every scope, as [Tensor.MoveOut] does of one: it lives
// until it is freed, or nobody has its handle.
func (t Tensor) Unscoped() Tensor {
	for t.slot != nil && t.owner == nil {
		t = t.MoveOut()
	}
	return t
}

// LiveTensors returns how many tensors the whole process holds.
func LiveTensors() int64 {
	mustLoad()
	return int64(C.gt_live_tensors())
}

// NoGrad runs f without recording gradients and then restores the mode that
// was on before. The mode is this thread's: a [Run] inside f has its own.
func NoGrad(f func()) { withGradMode(false, f) }

// EnableGrad runs f with gradients recorded and then restores the mode that
// was on before.
func EnableGrad(f func()) { withGradMode(true, f) }

func withGradMode(on bool, f func()) {
	mustLoad()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	previous := C.gt_set_grad_mode(cBool(on))
	defer C.gt_set_grad_mode(previous)
	f()
}

// IsGradEnabled reports whether operators on this thread record gradients.
func IsGradEnabled() bool {
	mustLoad()
	return C.gt_grad_mode() != 0
}

// Run runs f on the tensor thread and returns when it is done. A step enters
// that thread once: a hop costs some microseconds, an operator inside f a bare
// cgo call. On the tensor thread already, f just runs. A panic in f comes out
// of Run, and so does runtime.Goexit, which is how a test ends early.
func Run(f func()) {
	thread := tensorThread()
	if int64(syscall.Gettid()) == thread.id.Load() {
		f()
		return
	}
	j := job{f: f, done: make(chan any)}
	thread.jobs <- j
	switch r := (<-j.done).(type) {
	case nil:
	case goexit:
		runtime.Goexit()
	default:
		panic(r)
	}
}

type job struct {
	f    func()
	done chan any // what f panicked with, goexit, or nil
}

// goexit says that f left by runtime.Goexit.
type goexit struct{}

type worker struct {
	id   atomic.Int64 // of the OS thread
	jobs chan job
}

// tensorThread starts the one goroutine that is locked to its OS thread for
// good: libtorch gives every thread that computes an OpenMP pool of its own.
var tensorThread = sync.OnceValue(func() *worker {
	mustLoad()
	w := &worker{jobs: make(chan job)}
	go w.work()
	return w
})

func (w *worker) work() {
	runtime.LockOSThread()
	w.id.Store(int64(syscall.Gettid()))
	for j := range w.jobs {
		w.do(j)
	}
}

// do runs one job. If that ends this goroutine, and with it the thread, another
// one takes over.
func (w *worker) do(j job) {
	finished := false
	defer func() {
		r := recover()
		if e, ok := r.(runtime.Error); ok {
			// A bug: the stack that shows where is this goroutine's.
			r = fmt.Errorf("%w, on the tensor thread:\n%s", e, debug.Stack())
		}
		if r == nil && !finished {
			w.id.Store(0)
			go w.work()
			r = goexit{}
		}
		j.done <- r
	}()
	j.f()
	finished = true
}

// GC collects garbage until that frees no more unscoped tensors. Upstream's
// training loops call it once a step; with [Scope] nothing needs it.
func GC() {
	mustLoad()
	for before := int64(-1); before != LiveTensors(); {
		before = LiveTensors()
		// Cleanups run side by side in no set order, so one that ran says little
		// about the others; those queued by an earlier round are surely through.
		freed := make(chan struct{})
		func() { runtime.AddCleanup(new(owner), func(c chan struct{}) { close(c) }, freed) }()
		runtime.GC()
		<-freed
	}
}

// FinishGC is GC: upstream's loops call it after the last step.
func FinishGC() { GC() }
