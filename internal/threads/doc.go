// Package threads adapts libtorch's number of CPU threads to the cores that other
// processes leave free.
package threads
