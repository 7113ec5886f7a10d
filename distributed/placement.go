package distributed

import (
	"fmt"
	"strconv"
)

// Placement is this process's rank and the rendezvous address. The fields are torchrun's
// variables.
type Placement struct {
	Rank, WorldSize int
	LocalWorldSize  int    // number of processes on this machine; 0: not known yet
	LocalRank       int    // rank among those
	MasterAddr      string // of the process of rank 0
	MasterPort      int

	agentStore bool   // the launcher keeps the store where they meet
	prefix     string // of this attempt's keys in it
	socket     int    // the descriptor of one that listens on MasterPort already; 0: there is none
}

// launcher is a program that starts several processes, and its variables for their ranks.
type launcher struct{ name, rank, worldSize, localRank, localWorldSize string }

var launchers = []launcher{
	{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
	{"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
	{"MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
}

// Variables of all launchers.
const (
	masterAddr   = "MASTER_ADDR"
	masterPort   = "MASTER_PORT"
	agentStore   = "TORCHELASTIC_USE_AGENT_STORE"
	restartCount = "TORCHELASTIC_RESTART_COUNT"
)

// MasterSocket is the variable by which [Start] gives rank 0 the number of the descriptor
// on which it is to listen.
const MasterSocket = "IDDPM_MASTER_SOCKET"

// defaultPort is torch.distributed's.
const defaultPort = 29500

// FromEnvironment returns this process's placement from the variables of its launcher:
// torchrun, MPI, or [Start]. lookup is usually [os.LookupEnv]. Without a launcher it is
// the only process.
func FromEnvironment(lookup func(name string) (string, bool)) (Placement, error) {
	for _, l := range launchers {
		text, _ := lookup(l.worldSize)
		if n, err := strconv.Atoi(text); err == nil && n > 1 {
			return l.placement(lookup, n)
		}
	}
	return Placement{WorldSize: 1, LocalWorldSize: 1}, nil
}

func (l launcher) placement(lookup func(string) (string, bool), worldSize int) (Placement, error) {
	v := variableReader{lookup: lookup, launcher: l}
	p := Placement{WorldSize: worldSize, Rank: v.number(l.rank, 0, worldSize-1, required)}
	if p.LocalWorldSize = v.number(l.localWorldSize, 1, worldSize, 0); p.LocalWorldSize > 0 {
		p.LocalRank = v.number(l.localRank, 0, p.LocalWorldSize-1, required)
	}
	p.MasterPort = v.number(masterPort, 1, 65535, defaultPort)
	p.socket = v.number(MasterSocket, 0, 1<<16, 0)
	p.agentStore = v.text(agentStore, "") == "True"
	p.prefix = "attempt" + v.text(restartCount, "0")
	p.MasterAddr = v.text(masterAddr, "127.0.0.1")
	if _, set := lookup(masterAddr); !set && p.LocalWorldSize > 0 && p.LocalWorldSize < worldSize && v.err == nil {
		v.err = fmt.Errorf("%s has started %d processes on several machines: set %s to the name or address of the first one's, in all of them", l.name, worldSize, masterAddr)
	}
	return p, v.err
}

// required is the default of a required number.
const required = -1

// variableReader reads a launcher's variables, and keeps the first error.
type variableReader struct {
	lookup   func(string) (string, bool)
	launcher launcher
	err      error
}

func (v *variableReader) text(name, standard string) string {
	if text, _ := v.lookup(name); text != "" {
		return text
	}
	return standard
}

func (v *variableReader) number(name string, least, most, standard int) int {
	text := v.text(name, "")
	if text == "" && standard != required {
		return standard
	}
	n, err := strconv.Atoi(text)
	if (err != nil || n < least || n > most) && v.err == nil {
		v.err = fmt.Errorf("%s=%s: a process that %s has started among others needs a number from %d to %d there; unset %s to run alone", name, text, v.launcher.name, least, most, v.launcher.worldSize)
	}
	return n
}
