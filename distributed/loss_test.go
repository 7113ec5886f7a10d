package distributed

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wangkuiyi/gotorch"
)

// The others learn at once that a process is gone, and do not wait for it any more.
func TestLoss(t *testing.T) {
	said, ended := asGroup(t, 3, func(t *testing.T, g *Group) {
		if g.Rank() == 1 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		err := g.SyncStop(context.Background(), nil)
		var e *Error
		if !errors.As(err, &e) || !e.Lost || !e.Elsewhere() || !g.Lost() || !strings.Contains(err.Error(), "lost touch with the other processes") {
			t.Errorf("%v", err)
		}
		mine := errors.New("own")
		if got := g.SyncError(mine); got != mine || g.Barrier() != nil {
			t.Errorf("it asks those who are gone: %v", got)
		}
	})
	for rank, err := range ended {
		if (err != nil) != (rank == 1) {
			t.Errorf("process %d: %v\n%s", rank, err, said[rank])
		}
	}
}

// A process that hangs is lost to the others after a while, and one that only takes its
// time is not.
func TestCollectiveTimeout(t *testing.T) {
	said, ended := asGroup(t, 3, func(t *testing.T, g *Group) {
		barrier := func() error { return g.Within(time.Second, g.Barrier) }
		if g.Rank() == 1 {
			time.Sleep(500 * time.Millisecond)
		}
		if err := barrier(); err != nil {
			t.Errorf("one has been slow: %v", err)
		}
		if g.Rank() == 1 {
			time.Sleep(5 * time.Second)
			g.Leave() // so the others say
			return
		}
		begin := time.Now()
		var e *Error
		if err := barrier(); !errors.As(err, &e) || !e.Lost || !strings.Contains(err.Error(), "or it hangs") || time.Since(begin) > 4*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
	for rank, err := range ended {
		if err != nil {
			t.Errorf("process %d: %v\n%s", rank, err, said[rank])
		}
	}
}

// allReduce sums numbers through memory that the processes share.
func allReduce(t *testing.T, g *Group) error {
	if reason := g.GlooReason(); reason != "" {
		t.Errorf("the processes do not share memory: %s", reason)
	}
	return g.OnTensorThread(func() error {
		gotorch.Scope(func() {
			g.AllReduceAsync([]gotorch.Tensor{gotorch.FromInt64s([]int64{1})})
			g.Wait()
		})
		return nil
	})
}

// Processes that share memory learn, too, that one has been killed, which cannot tell them.
func TestAllReduceLostRank(t *testing.T) {
	said, ended := asGroup(t, 3, func(t *testing.T, g *Group) {
		if err := allReduce(t, g); err != nil {
			t.Error(err)
		}
		if g.Rank() == 1 {
			time.Sleep(300 * time.Millisecond) // the others wait already
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		var e *Error
		if err := allReduce(t, g); !errors.As(err, &e) || !e.Lost || !strings.Contains(err.Error(), "rank 1 has ended") {
			t.Errorf("%v", err)
		}
		// The other process is to miss rank 1, not this one.
		time.Sleep(time.Second)
	})
	for rank, err := range ended {
		if (err != nil) != (rank == 1) {
			t.Errorf("process %d: %v\n%s", rank, err, said[rank])
		}
	}
}

// A process that hangs is stopped, not ended: only the time tells.
func TestAllReduceTimeout(t *testing.T) {
	inThree(t, func(t *testing.T, g *Group) {
		within := func() error { return g.Within(time.Second, func() error { return allReduce(t, g) }) }
		if g.Rank() == 1 {
			time.Sleep(500 * time.Millisecond)
		}
		if err := within(); err != nil {
			t.Errorf("one has been slow: %v", err)
		}
		if g.Rank() == 1 {
			time.Sleep(5 * time.Second)
			g.Leave() // so the others say
			return
		}
		begin := time.Now()
		var e *Error
		if err := within(); !errors.As(err, &e) || !e.Lost || !strings.Contains(err.Error(), "timed out waiting for rank 1") || time.Since(begin) > 4*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		time.Sleep(time.Second)
	})
}
