package main

import (
	"strings"
	"testing"
)

func TestPlace(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		want place
		says string // of an error
	}{
		{"alone", nil, place{size: 1, here: 1}, ""},
		{"one process", map[string]string{"WORLD_SIZE": "1", "RANK": "0"}, place{size: 1, here: 1}, ""},
		{"variables of others", map[string]string{"PMI_SIZE": "", "OMPI_COMM_WORLD_SIZE": "one", "SLURM_NTASKS": "4"}, place{size: 1, here: 1}, ""},
		{"torchrun", map[string]string{"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node0", "MASTER_PORT": "1234",
			"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2"},
			place{rank: 3, size: 4, here: 2, index: 1, host: "node0", port: 1234, foreign: true, prefix: "attempt2"}, ""},
		{"our own", map[string]string{"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1234", "IDDPM_MASTER_SOCKET": "3"},
			place{size: 2, here: 2, host: "127.0.0.1", port: 1234, prefix: "attempt0", socket: 3}, ""},
		{"Open MPI", map[string]string{"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
			place{rank: 1, size: 2, here: 2, index: 1, host: "127.0.0.1", port: 29500, prefix: "attempt0"}, ""},
		{"MPICH", map[string]string{"PMI_SIZE": "3", "PMI_RANK": "2"},
			place{rank: 2, size: 3, host: "127.0.0.1", port: 29500, prefix: "attempt0"}, ""},
		{"no rank", map[string]string{"WORLD_SIZE": "4"}, place{}, "RANK=: a process that torchrun has started among others needs a number from 0 to 3"},
		{"rank beyond", map[string]string{"PMI_SIZE": "4", "PMI_RANK": "4"}, place{}, "PMI_RANK=4: "},
		{"no port", map[string]string{"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "http"}, place{}, "MASTER_PORT=http: "},
		{"machines", map[string]string{"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
			place{}, "4 processes on several machines: set MASTER_ADDR"},
	} {
		got, err := placeOf(variables(test.env))
		if test.says != "" {
			if err == nil || exitStatus(err) != exitUsage || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v", test.name, err)
			}
		} else if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}
