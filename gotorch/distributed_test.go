package gotorch

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// listening returns a socket on a free port of this machine, and the port.
func listening(t *testing.T) (*os.File, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().(*net.TCPAddr).Port
}

// asGroup runs the test again in each process of a group, where it calls f. Two ranks
// cannot share a process: libtorch's table of a process's groups has no lock.
func asGroup(t *testing.T, size int, f func(g *ProcessGroup)) {
	t.Helper()
	asGroupWith(t, size, func(*ProcessGroupOptions) {}, f)
}

// asGroupWith is asGroup with other options.
func asGroupWith(t *testing.T, size int, edit func(o *ProcessGroupOptions), f func(g *ProcessGroup)) {
	t.Helper()
	if os.Getenv("GROUP_PORT") != "" {
		member(t, edit, f)
		return
	}
	socket, port := listening(t)
	output := make([]strings.Builder, size)
	commands := make([]*exec.Cmd, size)
	for rank := range size {
		c := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.count=1")
		c.Env = append(os.Environ(), "GROUP_PORT="+strconv.Itoa(port), "GROUP_RANK="+strconv.Itoa(rank), "GROUP_SIZE="+strconv.Itoa(size), "OMP_NUM_THREADS=1")
		c.Stdout, c.Stderr = &output[rank], &output[rank]
		if rank == 0 {
			c.ExtraFiles = []*os.File{socket}
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		commands[rank] = c
	}
	for rank, c := range commands {
		if err := c.Wait(); err != nil {
			t.Errorf("process %d of %d: %v\n%s", rank, size, err, &output[rank])
		}
	}
}

// member calls f as one process of the group.
func member(t *testing.T, edit func(o *ProcessGroupOptions), f func(g *ProcessGroup)) {
	number := func(name string) int {
		n, err := strconv.Atoi(os.Getenv(name))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	o := ProcessGroupOptions{Rank: number("GROUP_RANK"), WorldSize: number("GROUP_SIZE"), Host: "127.0.0.1", Port: number("GROUP_PORT"),
		Local: true, Timeout: time.Minute}
	if o.Rank == 0 {
		o.Listen = 3
	}
	edit(&o)
	g := join(o)
	defer g.Close()
	Scope(func() { f(g) })
}

// join waits until all processes have joined.
func join(o ProcessGroupOptions) *ProcessGroup {
	r := NewRendezvous(o)
	defer r.Close()
	return r.Connect()
}

// allReduce sums tensors over all processes and waits for the sums.
func allReduce(g *ProcessGroup, list []Tensor) {
	g.AllReduceAsyncI(list)
	g.Wait()
}

func TestProcessGroupOfTwo(t *testing.T)   { asGroup(t, 2, testCollectives(t)) }
func TestProcessGroupOfThree(t *testing.T) { asGroup(t, 3, testCollectives(t)) }
func TestProcessGroupOfFour(t *testing.T)  { asGroup(t, 4, testCollectives(t)) }

func testCollectives(t *testing.T) func(g *ProcessGroup) {
	return func(g *ProcessGroup) {
		n, rank := float64(g.size), float64(g.rank)
		sum := n * (n - 1) / 2
		a := FullOn(Device{}, Float, 1+rank, 2, 1)
		b := FromFloat32s([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 1, 2, 2, 2).ChannelsLast()
		w := FullOn(Device{}, Float, rank)
		w.SetRequiresGrad(true)
		allReduce(g, []Tensor{a, b, w})
		checkValues(t, a, []float64{n + sum, n + sum}, 0)
		checkValues(t, b, []float64{n, 2 * n, 3 * n, 4 * n, 5 * n, 6 * n, 7 * n, 8 * n}, 0)
		checkValues(t, w, []float64{sum}, 0)
		allReduce(g, nil)

		last := FullOn(Device{}, Long, 10+rank, 3)
		g.BroadcastI([]Tensor{last}, g.size-1)
		checkValues(t, last, []float64{9 + n, 9 + n, 9 + n}, 0)
		if err := mustFail(t, func() { g.BroadcastI([]Tensor{last}, g.size) }); !strings.Contains(err.Message, "there is no rank") {
			t.Error(err)
		}
		if err := mustFail(t, func() { allReduce(g, []Tensor{a, last}) }); !strings.Contains(err.Message, "of one dtype") {
			t.Error(err)
		}

		all := g.AllGather(FromFloat64s([]float64{rank, -rank}))
		checkShape(t, all, int64(n), 2)
		var want []float64
		for i := range g.size {
			want = append(want, float64(i), -float64(i))
		}
		checkValues(t, all, want, 0)
	}
}

// TestProcessGroupDetectsExit checks that the exit of a process fails the others'
// collectives at once.
func TestProcessGroupDetectsExit(t *testing.T) {
	asGroup(t, 2, func(g *ProcessGroup) {
		x := zeros(4)
		allReduce(g, []Tensor{x})
		if g.rank == 1 {
			return
		}
		begin := time.Now()
		err := mustFail(t, func() { allReduce(g, []Tensor{x}) })
		if err.Op != "ProcessGroup.AllReduceAsyncI" && err.Op != "ProcessGroup.Wait" || time.Since(begin) > 30*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

// TestProcessGroupConnectTimeout creates a group that no other process joins.
func TestProcessGroupConnectTimeout(t *testing.T) {
	for name, o := range map[string]ProcessGroupOptions{
		"nobody":   {Rank: 0, Foreign: false},
		"no store": {Rank: 1, Foreign: true},
	} {
		socket, port := listening(t)
		if name == "no store" {
			port = 1
		}
		socket.Close()
		o.WorldSize, o.Host, o.Port, o.Local = 2, "127.0.0.1", port, true
		o.ConnectTimeout, o.Timeout = 300*time.Millisecond, 300*time.Millisecond
		begin := time.Now()
		err := mustFail(t, func() { join(o).Close() })
		if err.Op != "NewRendezvous" && err.Op != "Rendezvous.Connect" || !strings.Contains(err.Message, "300ms") || time.Since(begin) > 30*time.Second {
			t.Errorf("%s: after %v: %v", name, time.Since(begin), err)
		}
	}
}
