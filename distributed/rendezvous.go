package distributed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/wangkuiyi/gotorch"
)

// Rendezvous says how long the processes wait for one another at first. The zero value
// waits for 10 minutes, silently.
type Rendezvous struct {
	Timeout time.Duration // for all processes to come; 0: 10 minutes
	// Waiting is called where some have not come after a few seconds, and then every
	// minute; nil: nobody listens. reason is empty unless it is known why, and hint says
	// what to do. Of many processes that wait, only some call it.
	Waiting func(message, reason, hint string)
}

// InitProcessGroup waits until all processes have come, ctx ends, or the time of r is
// over. A process by itself needs no group: nil will do. The program had better ignore
// SIGPIPE: libtorch may write to a process that is gone before it has noticed.
func InitProcessGroup(ctx context.Context, at Placement, r Rendezvous) (*Group, error) {
	g := &Group{at: at}
	r.Timeout = cmp.Or(r.Timeout, 10*time.Minute)
	if err := at.checkPort(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout+connectGrace, errors.New("no answer within "+r.Timeout.String()))
	defer cancel()
	w := &waiting{at: at, tell: r.Waiting}
	met := make(chan error, 1)
	go func() { met <- w.join(ctx, g, r.Timeout) }()
	if err := w.until(ctx, met); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil, err
		}
		return nil, fmt.Errorf("the %d processes do not come together at %s, port %d (RANK=%d, WORLD_SIZE=%d): %w\n%s; GLOO_SOCKET_IFNAME names the network interface to use",
			at.WorldSize, at.host(), at.MasterPort, at.Rank, at.WorldSize, err, at.hint())
	}
	if at.LocalWorldSize > 0 {
		return g, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	hosts, err := AllGather(g, host)
	g.at.resolveLocal(host, hosts)
	return g, err
}

// options say where the group meets, and how long it may take.
func (p Placement) options(timeout time.Duration) gotorch.ProcessGroupOptions {
	return gotorch.ProcessGroupOptions{
		Rank: p.Rank, WorldSize: p.WorldSize, Host: p.MasterAddr, Port: p.MasterPort, Foreign: p.agentStore, Listen: p.socket, Prefix: p.prefix,
		ConnectTimeout: max(timeout.Round(time.Second), time.Second),
		Local:          p.LocalWorldSize == p.WorldSize || net.ParseIP(p.MasterAddr).IsLoopback(),
	}
}

// join has a process take its place in the group, once all have come.
func (w *waiting) join(ctx context.Context, g *Group, timeout time.Duration) (err error) {
	deadline := time.Now().Add(timeout)
	if err = w.resolve(ctx, deadline); err != nil {
		return err
	}
	refused := gotorch.Try(func() {
		r := gotorch.NewRendezvous(w.at.options(time.Until(deadline)))
		defer r.Close()
		w.reached(r)
		err = w.awaitRanks(ctx, r, deadline, timeout)
		w.connecting()
		if err == nil {
			g.group = r.Connect()
		}
	})
	return cmp.Or(err, refused)
}

// resolveLocal finds out which of this machine's processes this is, where the launcher has
// not said it: hosts are the machines' names, by rank.
func (p *Placement) resolveLocal(host string, hosts []string) {
	for rank, other := range hosts {
		if other == host {
			p.LocalWorldSize++
			if rank < p.Rank {
				p.LocalRank++
			}
		}
	}
}

// GPU returns which of this machine's n GPUs is this process's: that of its local rank.
func (g *Group) GPU(n int) (int, error) {
	switch {
	case g == nil || n == 1: // the launcher may show each process another
		return 0, nil
	case g.at.LocalRank < n:
		return g.at.LocalRank, nil
	}
	return 0, fmt.Errorf("there are %d GPUs for %d processes on this machine: start as many processes as there are GPUs", n, g.at.LocalWorldSize)
}
