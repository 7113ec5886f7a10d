// Package gotorch binds libtorch to Go: tensors, operators, autograd, random
// numbers and optimizers, on the CPU and on CUDA.
//
// It keeps the import path and the naming style of github.com/wangkuiyi/gotorch,
// which ended in 2020 with libtorch 1.6. This is a new implementation on libtorch
// 2.11 over the C ABI in csrc/iddpm.h.
//
// # Lifetime
//
// A tensor created inside [Scope] is freed when that scope ends, whether or not
// Go's garbage collector has run; [Tensor.MoveOut] moves a result to the enclosing
// scope. A tensor created outside any scope is freed when the collector finds it
// unreachable, or by [Tensor.Free]. Using a freed tensor panics with an [Error]; it
// never reads freed memory. [LiveTensors] counts the tensors that are not freed.
//
// # Errors
//
// An operator that fails in libtorch panics with an [*Error]; [Try] turns that
// into a Go error at a package's boundary.
//
// # Threads
//
// libtorch keeps its gradient mode, its OpenMP pool and its current CUDA stream
// per OS thread. [Run] runs a function on the one locked thread that does the
// tensor work; the operators inside are direct cgo calls. A scoped tensor may be used
// on its scope's thread only: anywhere else it panics with an [Error]. An unscoped
// tensor may be used from any goroutine, but an OpenMP pool per thread is slow.
//
// # Settings
//
// [Configure] sets what is process-wide: threads, determinism, TF32, cuDNN's benchmark mode
// and the CPU's cache. Nothing else changes them.
//
// # Loading
//
// The program is not linked to libtorch: the first tensor loads it, from
// $LIBTORCH if that is set, else from the build folder. See [LoadLibrary].
package gotorch
