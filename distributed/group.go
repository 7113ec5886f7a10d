package distributed

import (
	"time"

	"github.com/wangkuiyi/gotorch"
)

// Group is the processes that work together, seen from one of them. All processes
// must call its methods in the same order, and from one goroutine at a time.
type Group struct {
	group *gotorch.ProcessGroup
	at    Placement
	lost  bool // another process is gone, and nobody answers any more

	usesGPU bool
}

// Rank returns which of the processes this is, from 0.
func (g *Group) Rank() int {
	if g == nil {
		return 0
	}
	return g.at.Rank
}

// Size returns how many processes there are.
func (g *Group) Size() int {
	if g == nil {
		return 1
	}
	return g.at.WorldSize
}

// LocalSize returns how many of the processes are on this machine.
func (g *Group) LocalSize() int {
	if g == nil {
		return 1
	}
	return g.at.LocalWorldSize
}

// IsLeader reports whether this is the process of rank 0, which has the run folder.
func (g *Group) IsLeader() bool { return g.Rank() == 0 }

// Lost reports whether another process is gone, so that no call succeeds any more. Unless
// it was noticed in [Group.Within] a GPU may then wait for that process for ever, and what
// waits for the GPU, too.
func (g *Group) Lost() bool { return g != nil && g.lost }

// connectTimeout is how long the GPUs may take to find one another, as PyTorch has it.
const connectTimeout = 10 * time.Minute

// UseGPU lets tensors of a GPU take part: each process has another one. All processes
// do so, or none.
func (g *Group) UseGPU(d gotorch.Device) error {
	if g == nil {
		return nil
	}
	g.usesGPU = true
	return g.OnTensorThread(func() error {
		return g.Within(connectTimeout, func() error { g.group.UseGPU(d); return nil })
	})
}

// Close leaves the group, unless another process is lost: a GPU may then be waiting
// for that one, and Close would wait for it.
func (g *Group) Close() {
	if g != nil && !g.lost {
		g.group.Close()
	}
}

// OnTensorThread runs f where tensors are worked on, and returns its error, or what a
// collective or another operator in it panicked with: an [*Error] where that is the
// loss of another process, else a [*gotorch.Error].
func (g *Group) OnTensorThread(f func() error) (err error) {
	gotorch.Run(func() {
		if refused := gotorch.Try(func() { err = f() }); refused != nil {
			err = g.asLoss(refused)
		}
	})
	return err
}
