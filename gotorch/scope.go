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

// Scope runs f, and then frees the tensors that f created on this goroutine, in one
// C call. Scopes nest. The goroutine is locked to its OS thread meanwhile, because
// the stack of scopes belongs to the thread. Using such a tensor on another thread, as
// in another goroutine or in a [Run] inside f, panics with an [*Error].
func Scope(f func()) {
	mustLoad()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	C.gt_scope_push()
	defer C.gt_scope_pop()
	f()
}

// MoveOut moves t from its scope to the enclosing one and returns it; without an
// enclosing scope t becomes unscoped. An unscoped tensor is returned unchanged. Use
// the returned handle: only that one keeps an unscoped tensor alive.
func (t Tensor) MoveOut() Tensor {
	if t.slot == nil || t.owner != nil {
		return t
	}
	check("MoveOut", C.gt_scope_move_out(t.defined("MoveOut")))
	return own(t.slot)
}

// Unscoped moves t out of all scopes. It lives until it is freed, or until its handle
// is unreachable.
func (t Tensor) Unscoped() Tensor {
	for t.slot != nil && t.owner == nil {
		t = t.MoveOut()
	}
	return t
}

// LiveTensors returns the number of tensors in the process that are not freed.
func LiveTensors() int64 {
	mustLoad()
	return int64(C.gt_live_tensors())
}

// NoGrad runs f without tracking gradients and then restores the previous mode. The
// mode belongs to this thread: a [Run] inside f has its own.
func NoGrad(f func()) { withGradMode(false, f) }

// EnableGrad runs f with gradients tracked and then restores the previous mode.
func EnableGrad(f func()) { withGradMode(true, f) }

func withGradMode(on bool, f func()) {
	mustLoad()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	previous := C.gt_set_grad_mode(cBool(on))
	defer C.gt_set_grad_mode(previous)
	f()
}

// IsGradEnabled reports whether operators on this thread track gradients.
func IsGradEnabled() bool {
	mustLoad()
	return C.gt_grad_mode() != 0
}

// Run runs f on the tensor thread and returns when it has finished. Call it once per
// step: a switch of threads costs some microseconds, an operator inside f only a cgo
// call. Called on the tensor thread, it calls f directly. A panic in f propagates out
// of Run, and so does runtime.Goexit, by which a test ends early.
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
	done chan any // f's panic value, goexit, or nil
}

// goexit reports that f ended by runtime.Goexit.
type goexit struct{}

type worker struct {
	id   atomic.Int64 // of the OS thread
	jobs chan job
}

// tensorThread starts the one goroutine that stays locked to its OS thread: libtorch
// has an OpenMP pool per thread that computes.
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

// do runs one job. If the job ends this goroutine, and with it the thread, do starts
// another one.
func (w *worker) do(j job) {
	finished := false
	defer func() {
		r := recover()
		if e, ok := r.(runtime.Error); ok {
			// A bug: this goroutine's stack trace shows where.
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

// GC runs the garbage collector until it frees no more unscoped tensors. Code that
// uses [Scope] does not need it.
func GC() {
	mustLoad()
	for before := int64(-1); before != LiveTensors(); {
		before = LiveTensors()
		// Cleanups run concurrently in no fixed order, so one that has run says nothing
		// about the others of its round; those of earlier rounds have all run.
		freed := make(chan struct{})
		func() { runtime.AddCleanup(new(owner), func(c chan struct{}) { close(c) }, freed) }()
		runtime.GC()
		<-freed
	}
}

// FinishGC is GC: upstream's loops call it after the last step.
func FinishGC() { GC() }
