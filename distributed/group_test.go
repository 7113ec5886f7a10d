package distributed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// asGroup starts the test again in each of several processes, which call f, and
// returns their outputs and exit errors. In such a process it never returns.
func asGroup(t *testing.T, size int, f func(t *testing.T, g *Group)) (said []string, ended []error) {
	t.Helper()
	if at, err := FromEnvironment(os.LookupEnv); err != nil || at.WorldSize > 1 {
		member(t, at, err, f)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var output []*strings.Builder
	all, err := Start(size, func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.count=1", "-test.timeout=1m")
		output = append(output, new(strings.Builder))
		c.Env = append(os.Environ(), "OMP_NUM_THREADS=1")
		c.Stdout, c.Stderr = output[len(output)-1], output[len(output)-1]
		return c
	})
	if err != nil {
		t.Fatal(err)
	}
	for rank, c := range all {
		ended = append(ended, c.Wait())
		said = append(said, output[rank].String())
	}
	return said, ended
}

func member(t *testing.T, at Placement, err error, f func(t *testing.T, g *Group)) {
	if err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGPIPE)
	g, err := InitProcessGroup(context.Background(), at, Rendezvous{})
	if err != nil {
		t.Fatal(err)
	}
	f(t, g)
	g.Close()
	t.SkipNow() // what follows is for the process that has started this one
}

// inThree calls f in three processes, in none of which it may fail.
func inThree(t *testing.T, f func(t *testing.T, g *Group)) {
	t.Helper()
	said, ended := asGroup(t, 3, f)
	for rank, err := range ended {
		if err != nil {
			t.Errorf("process %d: %v\n%s", rank, err, said[rank])
		}
	}
}

// record has fields that gob sends, of which zero ones must arrive as such.
type record struct {
	Name   string
	Number int
	Rows   map[int][]float64
}

func recordOf(rank int) record {
	return record{strings.Repeat("x", 1000*rank), rank, map[int][]float64{rank: {float64(rank)}}}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, not %v", what, got, want)
	}
}

func TestCollectives(t *testing.T) {
	inThree(t, func(t *testing.T, g *Group) {
		same(t, "size", []int{g.Size(), g.LocalSize()}, []int{3, 3})
		all, err := AllGather(g, recordOf(g.Rank()))
		same(t, "AllGather", all, []record{recordOf(0), recordOf(1), recordOf(2)})
		first, errBroadcast := Broadcast(g, recordOf(g.Rank()))
		same(t, "Broadcast", first, recordOf(0))
		_, errEncode := AllGather(g, func() {}) // gob cannot encode functions
		same(t, "AllGather of a function", errEncode != nil, true)
		err = errors.Join(err, errBroadcast, g.Barrier(), g.OnTensorThread(func() error {
			gotorch.Scope(func() {
				mine := []gotorch.Tensor{gotorch.FromInt64s([]int64{int64(g.Rank()), 1})}
				same(t, "AllGatherTensor", g.AllGatherTensor(mine[0]).View(-1).Int64s(), []int64{0, 1, 1, 1, 2, 1})
				g.AllReduceAsync(mine)
				g.Wait()
				same(t, "AllReduceAsync", mine[0].Int64s(), []int64{3, 3})
				mine[0] = gotorch.FromInt64s([]int64{int64(g.Rank()) + 7})
				g.BroadcastTensors(mine)
				same(t, "BroadcastTensors", mine[0].Int64s(), []int64{7})
			})
			return nil
		}))
		if err != nil {
			t.Error(err)
		}
	})
}

// What one process fails with all of them learn, each in its way: "" is nil, "own" the
// process's own error, and a number the rank of the one that says it.
func TestSync(t *testing.T) { inThree(t, testSync) }

func testSync(t *testing.T, g *Group) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	fail := errors.New("own")
	text := func(err error) string {
		var e *Error
		if errors.As(err, &e) && e.Elsewhere() {
			return fmt.Sprint(e.Rank)
		} else if err != nil && e == nil && !errors.Is(err, context.Canceled) {
			return "an error of which the others do not know: " + err.Error()
		} else if err != nil {
			return err.Error()
		}
		return ""
	}
	for _, test := range []struct {
		name string
		call func(g *Group) error
		want []string // by rank
	}{
		{"all go on", func(g *Group) error { return g.SyncError(nil) }, []string{"", "", ""}},
		{"one fails", func(g *Group) error { return g.SyncError(only(g, 1, fail)) }, []string{"1", "own", "1"}},
		{"all fail alike", func(g *Group) error { return g.SyncError(fail) }, []string{"own", "0", "0"}},
		{"each fails otherwise", func(g *Group) error { return g.SyncError(fmt.Errorf("own %d", g.Rank())) }, []string{"own 0", "own 1", "own 2"}},
		{"twice", func(g *Group) error { return g.SyncError(g.SyncError(only(g, 1, fail))) }, []string{"1", "own", "0"}},
		{"no step fails", func(g *Group) error { return g.SyncStop(context.Background(), nil) }, []string{"", "", ""}},
		{"a step fails", func(g *Group) error { return g.SyncStop(context.Background(), only(g, 2, fail)) }, []string{"2", "2", "own"}},
		{"an interrupt", func(g *Group) error {
			if g.Rank() == 1 {
				return g.SyncStop(cancelled, context.Canceled)
			}
			return g.SyncStop(context.Background(), nil)
		}, []string{"context canceled", "context canceled", "context canceled"}},
		{"an interrupt and a failure", func(g *Group) error {
			if g.Rank() == 1 {
				return g.SyncStop(cancelled, nil)
			}
			return g.SyncStop(context.Background(), only(g, 0, fail))
		}, []string{"own", "0", "0"}},
		{"the leader alone", func(g *Group) error { return g.OnLeader(func() error { return only(g, 0, fail) }) }, []string{"own", "0", "0"}},
		{"the others after it", func(g *Group) error { return g.LeaderFirst(func() error { return only(g, 2, fail) }) }, []string{"2", "2", "own"}},
		{"the same", func(g *Group) error { return g.CheckSame("word", "a") }, []string{"", "", ""}},
		{"not the same", func(g *Group) error { return g.CheckSame("word", fmt.Sprint(g.Rank()/2)) },
			[]string{"2", "2", "the word is not that of process 0: all processes need the same"}},
	} {
		same(t, test.name, text(test.call(g)), test.want[g.Rank()])
	}
}

// only returns an error in one process.
func only(g *Group, rank int, err error) error {
	if g.Rank() == rank {
		return err
	}
	return nil
}

// A process by itself is its own leader, and needs no libtorch for it.
func TestNoGroup(t *testing.T) {
	var g *Group
	all, err := AllGather(g, "a")
	first, errBroadcast := Broadcast(g, "b")
	if err := errors.Join(err, errBroadcast, g.Barrier(), g.CheckSame("word", "a")); err != nil || first != "b" || !slices.Equal(all, []string{"a"}) {
		t.Errorf("%v, %q, %v", all, first, err)
	}
	if g.Rank() != 0 || g.Size() != 1 || g.LocalSize() != 1 || !g.IsLeader() || g.Lost() {
		t.Error("not alone")
	}
	fail, calls := errors.New("own"), 0
	if err := g.LeaderFirst(func() error { calls++; return fail }); err != fail || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if err := g.SyncStop(context.Background(), fail); !errors.Is(err, fail) {
		t.Error(err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.SyncStop(cancelled, nil); err != context.Canceled {
		t.Error(err)
	}
	g.Close()
}
