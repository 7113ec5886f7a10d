package distributed

import (
	"context"
	"errors"
	"net"
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
	for _, test := range []struct {
		name string
		at   Placement
		err  error
		want string // "": silent
	}{
		{"leftover variables", Placement{WorldSize: 2, MasterAddr: "127.0.0.1", MasterPort: 29500}, nil, "waiting for 1 of 2 processes (RANK=0, WORLD_SIZE=2) at localhost:29500"},
		{"before the store", Placement{WorldSize: 4, MasterAddr: "node0", MasterPort: 1}, errors.New("no such host"), "waiting for up to 3 of 4 processes (RANK=0, WORLD_SIZE=4) at node0:1"},
		{"IPv6", Placement{WorldSize: 2, MasterAddr: "fe80::1", MasterPort: 1}, nil, "at [fe80::1]:1"},
		{"rank 0 is missing", Placement{Rank: 1, WorldSize: 2, MasterAddr: "node0", MasterPort: 1}, nil, "(RANK=1, WORLD_SIZE=2)"},
		{"another process of this machine says it", Placement{Rank: 1, WorldSize: 2, LocalRank: 1, MasterAddr: "node0", MasterPort: 1}, nil, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var said []string
			w := waiting{at: test.at, err: test.err, tell: func(message, reason, hint string) {
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
