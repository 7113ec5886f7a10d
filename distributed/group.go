package distributed

import (
	"sync/atomic"
	"time"

	"github.com/wangkuiyi/gotorch"
)

// Group is a process group, like torch.distributed's. All processes must call its methods
// in the same order, and from one goroutine at a time.
type Group struct {
	group *gotorch.ProcessGroup
	at    Placement
	lost  atomic.Bool // another process is gone, or this one has left, and nobody answers any more

	usesGPU bool
}

// Rank returns this process's rank, from 0.
func (g *Group) Rank() int {
	if g == nil {
		return 0
	}
	return g.at.Rank
}

// Size returns the number of processes (world size).
func (g *Group) Size() int {
	if g == nil {
		return 1
	}
	return g.at.WorldSize
}

// LocalSize returns the number of processes on this machine.
func (g *Group) LocalSize() int {
	if g == nil {
		return 1
	}
	return g.at.LocalWorldSize
}

// GlooReason returns why the processes all-reduce tensors in host memory through gloo
// although they are on one machine. It is empty where they share memory, or are on several
// machines.
func (g *Group) GlooReason() string {
	if g == nil {
		return ""
	}
	return g.group.GlooReason()
}

// IsLeader reports whether this is rank 0, which uses the run folder.
func (g *Group) IsLeader() bool { return g.Rank() == 0 }

// Lost reports whether another process is gone, so that no call succeeds any more. Unless
// it was noticed in [Group.Within] a GPU may then wait for that process for ever, and what
// waits for the GPU, too.
func (g *Group) Lost() bool { return g != nil && g.lost.Load() }

// Leave ends this process's part in the group at once, from any goroutine, while a collective may
// be under way: [Group.Lost] is true from now on. The others notice when this process ends.
func (g *Group) Leave() {
	if g != nil {
		g.lost.Store(true)
	}
}

// connectTimeout is the timeout of NCCL's initialisation, as in PyTorch.
const connectTimeout = 10 * time.Minute

// UseGPU enables collectives on tensors of GPU d. Each process must use a different GPU,
// and all processes must call it, or none.
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
	if g != nil && !g.Lost() {
		g.group.Close()
	}
}

// OnTensorThread runs f where tensors are worked on, and returns its error, or what a
// collective or another operator in it panicked with: an [*Error] where either is the
// loss of another process.
func (g *Group) OnTensorThread(f func() error) (err error) {
	gotorch.Run(func() {
		if refused := gotorch.Try(func() { err = f() }); refused != nil {
			err = refused
		}
		err = g.asLoss(err)
	})
	return err
}
