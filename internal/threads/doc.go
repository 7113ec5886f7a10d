// Package threads adapts the number of threads that libtorch computes with on the CPU to
// the cores that other processes leave free.
package threads
