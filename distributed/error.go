package distributed

import (
	"errors"
	"fmt"
	"strings"

	"github.com/wangkuiyi/gotorch"
)

// Error is how a process learns that the work of all has failed. The others know of
// it, too, or are gone, so that none waits for this one where it stops.
type Error struct {
	Lost bool  // another process is gone, or hangs, and Err is how that was noticed
	Hung bool  // Lost, and noticed by this process's watchdog: the leader may be the one that is gone
	Rank int   // unless Lost: the process that has failed
	Err  error // nil: the process of that rank says it
}

func (e *Error) Error() string {
	switch {
	case e.Lost:
		return fmt.Sprintf("lost touch with the other processes: one has ended, and its last error message says why, or it hangs (%v)", e.Err)
	case e.Err == nil:
		return fmt.Sprintf("process %d of the run has failed: see what it says", e.Rank)
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Elsewhere reports whether it is another process that says why.
func (e *Error) Elsewhere() bool { return e.Lost && !e.Hung || e.Err == nil }

// asLoss turns what a collective has panicked with into the loss of another process.
// Other errors it returns as they are.
func (g *Group) asLoss(err error) error {
	var e *gotorch.Error
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	if g == nil || !errors.As(err, &e) || !strings.HasPrefix(e.Op, "ProcessGroup.") || e.Op == "ProcessGroup.UseGPU" {
		return err
	}
	g.lost.Store(true)
	return &Error{Lost: true, Err: err}
}

// synced marks this process's own error as one that all know of.
func (g *Group) synced(mine error) error {
	var already *Error
	if mine == nil || errors.As(mine, &already) {
		return mine
	}
	return &Error{Rank: g.Rank(), Err: mine}
}
