// Package gotorch is libtorch for Go: tensors, operators, gradients, and the
// random numbers and optimizers that training needs, on the CPU and on CUDA.
//
// It keeps the import path, the names and the signatures of
// github.com/wangkuiyi/gotorch, which stopped in 2020 at libtorch 1.6, and is
// written afresh on libtorch 2.11 over the C ABI in csrc/iddpm.h.
//
// # Lifetime
//
// A tensor made inside [Scope] dies when that scope ends, whether or not the
// collector has run; [Tensor.MoveOut] hands a result to the scope outside. A
// tensor made outside any scope lives until the collector finds it unreachable,
// or until [Tensor.Free]. Using a dead tensor panics with an [Error]; it never
// reads freed memory. [LiveTensors] counts the living.
//
// # Errors
//
// An operator that libtorch refuses panics with an [*Error]; [Try] turns that
// into a Go error at a package's boundary.
//
// # Threads
//
// libtorch keeps its gradient mode, its OpenMP pool and its current CUDA stream
// per OS thread. [Run] carries a function over to the one locked thread that
// does the tensor work; the operators inside are direct cgo calls. Tensors may
// be used from any goroutine, but a thread pool per goroutine is slow.
//
// # Loading
//
// The program is not linked to libtorch: the first tensor loads it, from
// $LIBTORCH if that is set, else from the build folder. See [LoadLibrary].
package gotorch
