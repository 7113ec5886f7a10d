package distributed

import (
	"errors"
	"fmt"
	"strings"

	"github.com/wangkuiyi/gotorch"
)

// Error says that the work of all processes has failed. The other processes get an Error,
// too, or have ended, so none waits for this one.
type Error struct {
	Lost bool  // another process has ended or hangs; Err is how that was detected
	Hung bool  // Lost, and noticed by this process's watchdog: the leader may be the one that is gone
	Rank int   // unless Lost: the rank that failed
	Err  error // nil: that rank reports the error
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

// Elsewhere reports whether another process reports the reason.
func (e *Error) Elsewhere() bool { return e.Lost && !e.Hung || e.Err == nil }

// asLoss converts a collective's panic to the loss of another process. It returns other
// errors unchanged.
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

// synced marks this process's own error as known to all.
func (g *Group) synced(mine error) error {
	var already *Error
	if mine == nil || errors.As(mine, &already) {
		return mine
	}
	return &Error{Rank: g.Rank(), Err: mine}
}
