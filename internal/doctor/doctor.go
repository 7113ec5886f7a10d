// Package doctor checks whether a machine can train: libtorch, GPUs, memory, threads,
// shared memory, disk and the JPEG decoder. Each check says what it found and, unless that
// is fine, what to do about it.
package doctor

import (
	"io/fs"

	"iddpm/internal/host"
)

// State says how a check ended.
type State string

// The states of a check.
const (
	OK      State = "ok"
	Warning State = "warning" // training works, but slower, or not with every setting
	Failed  State = "failed"  // training does not work
)

// Check is the result of one check.
type Check struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"` // what to do; empty if all is well
}

// Machine is what the checks look at. The zero value is of no use: Root, Processors and
// RunDir are needed.
type Machine struct {
	Root       fs.FS                            // of the file system
	Env        func(name string) (string, bool) // the environment
	Processors int                              // logical processors that this process may use
	RunDir     string                           // where run folders are written; it need not exist
	ForGPUs    bool                             // the CUDA library is installed with the program
	Free       func(path string) (int64, error) // free bytes of the file system of a path
	Load       func() error                     // loads libtorch
	GPUs       func() ([]host.GPU, error)       // usable GPUs, or why there are none
	Turbo      func() error                     // why libjpeg-turbo is not available
}

// Run runs all checks, in the order in which training would need what they check.
func Run(m Machine) []Check {
	checks := []Check{m.libtorch()}
	if checks[0].State == OK {
		checks = append(checks, m.gpus())
	}
	return append(checks, m.memory(), m.threads(), m.sharedMemory(), m.disk(), m.decoder(), m.openFiles())
}

// Healthy reports whether nothing prevents training.
func Healthy(checks []Check) bool {
	for _, c := range checks {
		if c.State == Failed {
			return false
		}
	}
	return true
}
