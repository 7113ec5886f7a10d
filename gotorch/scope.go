package gotorch

// #include "iddpm.h"
import "C"

import (
	"runtime"
	"sync"
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
// it is.
func (t Tensor) MoveOut() Tensor {
	if t.slot == nil || t.owner != nil {
		return t
	}
	check("MoveOut", C.gt_scope_move_out(t.c()))
	return own(t.slot)
}

// LiveTensors returns how many tensors the whole process holds.
func LiveTensors() int64 {
	mustLoad()
	return int64(C.gt_live_tensors())
}

// NoGrad runs f without recording gradients and then restores the mode that
// was on before.
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
// of Run.
func Run(f func()) {
	thread := tensorThread()
	if syscall.Gettid() == thread.id {
		f()
		return
	}
	j := job{f: f, done: make(chan any)}
	thread.jobs <- j
	if r := <-j.done; r != nil {
		panic(r)
	}
}

type job struct {
	f    func()
	done chan any // what f panicked with, or nil
}

type worker struct {
	id   int
	jobs chan job
}

// tensorThread starts the one goroutine that is locked to its OS thread for
// good: libtorch gives every thread that computes an OpenMP pool of its own.
var tensorThread = sync.OnceValue(func() worker {
	mustLoad()
	ready := make(chan worker)
	go func() {
		runtime.LockOSThread()
		w := worker{id: syscall.Gettid(), jobs: make(chan job)}
		ready <- w
		for j := range w.jobs {
			j.done <- recovered(j.f)
		}
	}()
	return <-ready
})

func recovered(f func()) (r any) {
	defer func() { r = recover() }()
	f()
	return nil
}

// GC collects garbage and waits until the unscoped tensors found dead are
// freed. Upstream's training loops call it once a step; with [Scope] nothing
// needs it.
func GC() {
	freed := make(chan struct{})
	func() { runtime.AddCleanup(new(owner), func(c chan struct{}) { close(c) }, freed) }()
	runtime.GC()
	<-freed
}

// FinishGC is GC: upstream's loops call it after the last step.
func FinishGC() { GC() }
