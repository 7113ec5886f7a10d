package main

import (
	"net"
	"os"
	"strconv"

	"github.com/wangkuiyi/gotorch"

	"iddpm/train"
)

// place says which of several processes that work together this is, and where they meet.
type place struct {
	rank, size int
	here       int    // how many of them are on this machine; 0: not known yet
	index      int    // which of those this is: it takes the GPU of that number
	host       string // of the process of rank 0
	port       int
	foreign    bool   // the launcher keeps the store where they meet
	prefix     string // of this attempt's keys in it
	socket     int    // the descriptor of one that listens on port already; 0: there is none
}

// together reports whether there are other processes.
func (p place) together() bool { return p.size > 1 }

// launcher is a program that starts several processes, and the variables that it
// tells them by which they are.
type launcher struct{ name, rank, size, index, here string }

var launchers = []launcher{
	{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
	{"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
	{"MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
}

// The variables of PyTorch's processes that say where they meet.
const (
	masterAddr = "MASTER_ADDR"
	masterPort = "MASTER_PORT"
)

// masterSocket is our own launcher's: the number of a descriptor.
const masterSocket = "IDDPM_MASTER_SOCKET"

// standardPort is torch.distributed's.
const standardPort = 29500

// placeOf returns where a launcher has put this process.
func placeOf(env environment) (place, error) {
	for _, l := range launchers {
		text, _ := env(l.size)
		if n, err := strconv.Atoi(text); err == nil && n > 1 {
			return l.place(env, n)
		}
	}
	return place{size: 1, here: 1}, nil
}

func (l launcher) place(env environment, size int) (place, error) {
	v := variableReader{env: env, launcher: l.name}
	p := place{size: size, rank: v.number(l.rank, 0, size-1, none)}
	if p.here = v.number(l.here, 1, size, 0); p.here > 0 {
		p.index = v.number(l.index, 0, p.here-1, none)
	}
	p.port = v.number(masterPort, 1, 65535, standardPort)
	p.socket = v.number(masterSocket, 0, 1<<16, 0)
	p.foreign = v.text("TORCHELASTIC_USE_AGENT_STORE", "") == "True"
	p.prefix = "attempt" + v.text("TORCHELASTIC_RESTART_COUNT", "0")
	p.host = v.text(masterAddr, "127.0.0.1")
	if _, set := env(masterAddr); !set && p.here > 0 && p.here < size && v.err == nil {
		v.err = wrongUse("%s has started %d processes on several machines: set %s to the name or address of the first one's, in all of them", l.name, size, masterAddr)
	}
	return p, v.err
}

// none is the default of a number that there must be.
const none = -1

// variableReader reads a launcher's variables, and keeps the first error.
type variableReader struct {
	env      environment
	launcher string
	err      error
}

func (v *variableReader) text(name, standard string) string {
	if text, _ := v.env(name); text != "" {
		return text
	}
	return standard
}

func (v *variableReader) number(name string, least, most, standard int) int {
	text := v.text(name, "")
	if text == "" && standard != none {
		return standard
	}
	n, err := strconv.Atoi(text)
	if (err != nil || n < least || n > most) && v.err == nil {
		v.err = wrongUse("%s=%s: a process that %s has started among others needs a number from %d to %d there", name, text, v.launcher, least, most)
	}
	return n
}

// options say where the group of the processes meets.
func (p place) options() gotorch.ProcessGroupOptions {
	return gotorch.ProcessGroupOptions{
		Rank: p.rank, WorldSize: p.size, Host: p.host, Port: p.port, Foreign: p.foreign, Listen: p.socket, Prefix: p.prefix,
		Local: p.here == p.size || net.ParseIP(p.host).IsLoopback(),
	}
}

// count finds out how many processes are on this machine, where the launcher has not said
// it, and which of them this is.
func (p *place) count(peers *train.Peers) error {
	if p.here > 0 {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	hosts, err := peers.Exchange(host)
	for rank, other := range hosts {
		if other == host {
			p.here++
			if rank < p.rank {
				p.index++
			}
		}
	}
	return err
}
