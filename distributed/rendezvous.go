package distributed

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/wangkuiyi/gotorch"
)

// InitProcessGroup waits until all processes have come, or ctx ends. A process by
// itself needs no group: nil will do. The program had better ignore SIGPIPE: libtorch
// may write to a process that is gone before it has noticed.
func InitProcessGroup(ctx context.Context, at Placement) (*Group, error) {
	g := &Group{at: at}
	met := make(chan error, 1)
	go func() { met <- gotorch.Try(func() { g.group = gotorch.NewProcessGroup(at.options()) }) }()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case err := <-met:
		if err != nil {
			return nil, fmt.Errorf("the %d processes do not come together at %s, port %d (GLOO_SOCKET_IFNAME names the network interface to use): %w", at.WorldSize, at.MasterAddr, at.MasterPort, err)
		}
	}
	if at.LocalWorldSize > 0 {
		return g, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	hosts, err := AllGather(g, host)
	g.at.settle(host, hosts)
	return g, err
}

// options say where the group meets.
func (p Placement) options() gotorch.ProcessGroupOptions {
	return gotorch.ProcessGroupOptions{
		Rank: p.Rank, WorldSize: p.WorldSize, Host: p.MasterAddr, Port: p.MasterPort, Foreign: p.agentStore, Listen: p.socket, Prefix: p.prefix,
		Local: p.LocalWorldSize == p.WorldSize || net.ParseIP(p.MasterAddr).IsLoopback(),
	}
}

// settle finds out which of this machine's processes this is, where the launcher has
// not said it: hosts are the machines' names, by rank.
func (p *Placement) settle(host string, hosts []string) {
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
