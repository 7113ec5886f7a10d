package distributed

import (
	"strings"
	"testing"
)

func TestFromEnvironment(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		want Placement
		says string // of an error
	}{
		{"alone", nil, Placement{WorldSize: 1, LocalWorldSize: 1}, ""},
		{"one process", map[string]string{"WORLD_SIZE": "1", "RANK": "0"}, Placement{WorldSize: 1, LocalWorldSize: 1}, ""},
		{"variables of others", map[string]string{"PMI_SIZE": "", "OMPI_COMM_WORLD_SIZE": "one", "SLURM_NTASKS": "4"}, Placement{WorldSize: 1, LocalWorldSize: 1}, ""},
		{"torchrun", map[string]string{"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node0", "MASTER_PORT": "1234",
			"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2"},
			Placement{Rank: 3, WorldSize: 4, LocalWorldSize: 2, LocalRank: 1, MasterAddr: "node0", MasterPort: 1234, agentStore: true, prefix: "attempt2"}, ""},
		{"our own", map[string]string{"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1234", "IDDPM_MASTER_SOCKET": "3"},
			Placement{WorldSize: 2, LocalWorldSize: 2, MasterAddr: "127.0.0.1", MasterPort: 1234, prefix: "attempt0", socket: 3}, ""},
		{"Open MPI", map[string]string{"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
			Placement{Rank: 1, WorldSize: 2, LocalWorldSize: 2, LocalRank: 1, MasterAddr: "127.0.0.1", MasterPort: 29500, prefix: "attempt0"}, ""},
		{"MPICH", map[string]string{"PMI_SIZE": "3", "PMI_RANK": "2"},
			Placement{Rank: 2, WorldSize: 3, MasterAddr: "127.0.0.1", MasterPort: 29500, prefix: "attempt0"}, ""},
		{"no rank", map[string]string{"WORLD_SIZE": "4"}, Placement{}, "RANK=: a process that torchrun has started among others needs a number from 0 to 3"},
		{"rank beyond", map[string]string{"PMI_SIZE": "4", "PMI_RANK": "4"}, Placement{}, "PMI_RANK=4: "},
		{"no port", map[string]string{"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "http"}, Placement{}, "MASTER_PORT=http: "},
		{"machines", map[string]string{"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
			Placement{}, "4 processes on several machines: set MASTER_ADDR"},
	} {
		got, err := FromEnvironment(variables(test.env))
		if test.says != "" {
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v", test.name, err)
			}
		} else if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}

func variables(of map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, set := of[name]
		return value, set
	}
}

// If the launcher sets no local rank, it follows from the host names. Each process uses a
// different GPU.
func TestLocalRank(t *testing.T) {
	hosts := []string{"a", "b", "a", "b", "b"}
	for rank, want := range []Placement{{LocalRank: 0, LocalWorldSize: 2}, {LocalRank: 0, LocalWorldSize: 3}, {LocalRank: 1, LocalWorldSize: 2}, {LocalRank: 1, LocalWorldSize: 3}, {LocalRank: 2, LocalWorldSize: 3}} {
		got := Placement{Rank: rank}
		got.resolveLocal(hosts[rank], hosts)
		if want.Rank = rank; got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
		g := &Group{at: got}
		for gpus := 1; gpus < 4; gpus++ {
			gpu, err := g.GPU(gpus)
			if fits := gpus == 1 || got.LocalRank < gpus; (err == nil) != fits || fits && gpus > 1 && gpu != got.LocalRank {
				t.Errorf("rank %d of %d GPUs takes %d, %v", rank, gpus, gpu, err)
			}
		}
	}
}
