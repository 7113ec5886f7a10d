// Package host inspects the machine that the program runs on: containers, GPUs, and the
// permissions of files. Its hints say how to fix what it finds.
package host
