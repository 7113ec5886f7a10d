package distributed

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func freePort(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

// A process whose others never come says what it waits for, and in the end which they were.
func TestNobodyComes(t *testing.T) {
	for _, test := range []struct {
		name string
		at   Placement
		busy bool // another program listens on the port
		want []string
	}{
		{"rank 0", Placement{WorldSize: 2, MasterAddr: "127.0.0.1", prefix: "a"}, false, []string{"2 processes do not come together at localhost", "RANK=0, WORLD_SIZE=2", "unset"}},
		{"rank 1", Placement{Rank: 1, WorldSize: 2, MasterAddr: "localhost", prefix: "a"}, false, []string{"RANK=1, WORLD_SIZE=2", "unset"}},
		{"no such host", Placement{WorldSize: 2, MasterAddr: "node0.invalid", prefix: "a"}, false, []string{"MASTER_ADDR=node0.invalid: lookup"}},
		{"port in use", Placement{WorldSize: 2, MasterAddr: "localhost", prefix: "a"}, true, []string{"is in use: by another run", "MASTER_PORT"}},
	} {
		l, port := freePort(t)
		if !test.busy {
			l.Close()
		}
		test.at.MasterPort = port
		begin := time.Now()
		_, err := InitProcessGroup(t.Context(), test.at, Rendezvous{Timeout: time.Second})
		if err == nil || time.Since(begin) > 30*time.Second {
			t.Fatalf("%s: after %v: %v", test.name, time.Since(begin), err)
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v lacks %q", test.name, err, want)
			}
		}
	}
}

// The first message comes after seconds, and then one a minute, from one process of each
// machine.
func TestWaitingIsTold(t *testing.T) {
	two, four := Placement{WorldSize: 2, MasterAddr: "127.0.0.1", MasterPort: 29500}, Placement{WorldSize: 4, MasterAddr: "node0", MasterPort: 1}
	ranked := func(p Placement, rank, local int) Placement {
		p.Rank, p.LocalRank = rank, local
		return p
	}
	for _, test := range []struct {
		name  string
		at    Placement
		err   error
		store store
		came  bool
		want  string // "": silent
	}{
		{"leftover variables", two, nil, registered{0}, false, "waiting for rank 1 of 2 processes (RANK=0, WORLD_SIZE=2) at localhost:29500"},
		{"some have come", four, nil, registered{0, 1}, false, "waiting for ranks 2 and 3 of 4 processes (RANK=0, WORLD_SIZE=4) at node0:1"},
		{"a later rank knows it, too", ranked(four, 3, 0), nil, registered{0, 3}, false, "waiting for ranks 1 and 2 of 4 processes (RANK=3, WORLD_SIZE=4)"},
		{"before the store", four, errors.New("no such host"), nil, false, "waiting for the store of 4 processes (RANK=0, WORLD_SIZE=4) at node0:1"},
		{"rank 0 keeps the store", ranked(four, 2, 0), nil, nil, false, "waiting for rank 0 of 4 processes (RANK=2, WORLD_SIZE=4)"},
		{"a launcher keeps the store", Placement{Rank: 2, WorldSize: 4, agentStore: true}, nil, nil, false, "waiting for the store of 4 processes"},
		{"all have come", four, nil, nil, true, "waiting for 4 processes to connect to one another"},
		{"all are just coming", four, nil, registered{0, 1, 2, 3}, false, "waiting for 4 processes to connect to one another"},
		{"IPv6", Placement{WorldSize: 2, MasterAddr: "fe80::1", MasterPort: 1}, nil, nil, false, "at [fe80::1]:1"},
		{"another process of this machine says it", ranked(two, 1, 1), nil, nil, false, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var said []string
			w := waiting{at: test.at, err: test.err, store: test.store, came: test.came, tell: func(message, reason, hint string) {
				said = append(said, message)
				if (reason != "") != (test.err != nil) || !strings.Contains(hint, "unset") {
					t.Errorf("%s: reason %q, hint %q", test.name, reason, hint)
				}
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second)
			defer cancel()
			if err := w.until(ctx, make(chan error)); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			times := map[bool]int{false: 2}[test.want == ""]
			if len(said) != times || times > 0 && !strings.Contains(said[0], test.want) {
				t.Errorf("%s: %q, want %q", test.name, said, test.want)
			}
		})
	}
}

// registered are the ranks that have come.
type registered []int32

func (r registered) Registered(ranks []int32) bool {
	for _, rank := range ranks {
		if !slices.Contains(r, rank) {
			return false
		}
	}
	return true
}

func TestNameRanks(t *testing.T) {
	for want, ranks := range map[string][]int32{
		"rank 1":                  {1},
		"ranks 2 and 3":           {2, 3},
		"ranks 0 to 2":            {0, 1, 2},
		"ranks 1, 3 and 5 to 63":  append([]int32{1, 3}, allRanks(64)[5:]...),
		"ranks 0 to 2, 4 and 5":   {0, 1, 2, 4, 5},
		"ranks 0 to 2 and 4 to 6": {0, 1, 2, 4, 5, 6},
	} {
		if got := nameRanks(ranks); got != want {
			t.Errorf("%v: %q, not %q", ranks, got, want)
		}
	}
}

// The ranks that have come know from the store which have not.
func TestMissingRanksAreNamed(t *testing.T) {
	l, port := freePort(t)
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	at := func(rank int) Placement {
		return Placement{Rank: rank, WorldSize: 4, MasterAddr: "127.0.0.1", MasterPort: port, prefix: "a"}
	}
	ended := make(chan error)
	go func() {
		_, err := InitProcessGroup(ctx, at(0), Rendezvous{})
		ended <- err
	}()
	_, err := InitProcessGroup(ctx, at(1), Rendezvous{Timeout: 2 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "ranks 2 and 3 of 4 did not come within 2s") {
		t.Error(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
