package distributed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wangkuiyi/gotorch"
)

const (
	firstWord    = 5 * time.Second // how long a process waits for the others in silence
	nextWord     = time.Minute     // and then between two messages
	connectGrace = 2 * time.Second // how much longer than its timeout libtorch may take
)

// waiting is a process that waits for the others to come.
type waiting struct {
	at   Placement
	tell func(message, reason, hint string)

	mu    sync.Mutex
	err   error // why the store is not reached yet, where that is known
	store store // while it is known which ranks are missing; else nil
	came  bool  // whether all have come
}

// store is where ranks register: a [*gotorch.Rendezvous].
type store interface {
	Registered(ranks []int32) bool
}

// failed notes why the store is not reached, or, with nil, that nothing is known to be wrong.
func (w *waiting) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// reached notes that the store can be asked who is missing.
func (w *waiting) reached(s store) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.store = s
}

// connecting notes that nobody is missing, or that the wait is over. The store is not to be
// asked any more: while the processes connect a question would wait for that.
func (w *waiting) connecting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.store, w.came = nil, true
}

// awaitRanks waits until all ranks have registered.
func (w *waiting) awaitRanks(ctx context.Context, s store, deadline time.Time, timeout time.Duration) error {
	all := allRanks(w.at.WorldSize)
	for pause := time.Millisecond; !s.Registered(all); pause = min(2*pause, 200*time.Millisecond) {
		if !time.Now().Before(deadline) {
			if absent := missing(s, all); len(absent) > 0 {
				return fmt.Errorf("%s of %d did not come within %v", nameRanks(absent), w.at.WorldSize, timeout)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return nil
}

func allRanks(n int) []int32 {
	all := make([]int32, n)
	for rank := range all {
		all[rank] = int32(rank)
	}
	return all
}

// missing returns which of these ranks have not registered. It asks about halves: a question
// for each rank would be many where thousands have come.
func missing(s store, ranks []int32) []int32 {
	if s.Registered(ranks) {
		return nil
	}
	if len(ranks) == 1 {
		return ranks
	}
	half := len(ranks) / 2
	return slices.Concat(missing(s, ranks[:half]), missing(s, ranks[half:]))
}

// nameRanks returns, for instance, "rank 1" or "ranks 1, 3 and 5 to 63".
func nameRanks(ranks []int32) string {
	var parts []string
	for i := 0; i < len(ranks); {
		end := i + 1
		for end < len(ranks) && ranks[end] == ranks[end-1]+1 {
			end++
		}
		if end-i < 3 {
			parts, i = append(parts, fmt.Sprint(ranks[i])), i+1
			continue
		}
		parts, i = append(parts, fmt.Sprintf("%d to %d", ranks[i], ranks[end-1])), end
	}
	last := len(parts) - 1
	switch {
	case len(ranks) == 1:
		return "rank " + parts[0]
	case last == 0:
		return "ranks " + parts[0]
	}
	return "ranks " + strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// resolve waits until MASTER_ADDR can be resolved: a cluster may only learn the name of a
// machine when it starts.
func (w *waiting) resolve(ctx context.Context, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var last error
	for {
		_, err := net.DefaultResolver.LookupHost(ctx, w.at.MasterAddr)
		if err == nil {
			w.failed(nil)
			return nil
		}
		if last == nil || ctx.Err() == nil { // else it is the deadline's
			last = fmt.Errorf("%s=%s: %w", masterAddr, w.at.MasterAddr, err)
			w.failed(last)
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(time.Second):
		}
	}
}

// until returns what met says, or the end of ctx, and tells meanwhile that this process
// waits.
func (w *waiting) until(ctx context.Context, met <-chan error) error {
	timer := time.NewTimer(firstWord)
	defer timer.Stop()
	for {
		select {
		case err := <-met:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			w.say()
			timer.Reset(nextWord)
		}
	}
}

// say tells what this process waits for, from one process of each machine: that of rank 0
// may be the one that is missing.
func (w *waiting) say() {
	if w.tell == nil || w.at.LocalRank > 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	reason := ""
	if w.err != nil {
		reason = w.err.Error()
	}
	w.tell(fmt.Sprintf("waiting for %s (RANK=%d, WORLD_SIZE=%d) at %s", w.subject(), w.at.Rank, w.at.WorldSize,
		net.JoinHostPort(w.at.host(), strconv.Itoa(w.at.MasterPort))), reason, w.at.hint())
}

// subject names what this process waits for.
func (w *waiting) subject() string {
	processes := fmt.Sprintf("%d processes", w.at.WorldSize)
	came, absent := w.came, []int32(nil)
	if w.store != nil {
		gone := gotorch.Try(func() { absent = missing(w.store, allRanks(w.at.WorldSize)) })
		came = gone == nil && len(absent) == 0
	}
	switch {
	case came:
		return processes + " to connect to one another"
	case len(absent) > 0:
		return nameRanks(absent) + " of " + processes
	case w.store == nil && w.at.Rank > 0 && !w.at.agentStore: // rank 0 keeps the store
		return "rank 0 of " + processes
	}
	return "the store of " + processes
}

// host is where the processes meet, for people.
func (p Placement) host() string {
	if net.ParseIP(p.MasterAddr).IsLoopback() {
		return "localhost"
	}
	return p.MasterAddr
}

// hint says what to do where the others do not come.
func (p Placement) hint() string {
	hint := "start the other processes, or unset the launcher's variables (RANK, WORLD_SIZE and the like) to run this one alone"
	if p.MasterPort == defaultPort {
		hint += fmt.Sprintf("; without %s the port is %d", masterPort, defaultPort)
	}
	return hint
}

// checkPort refuses a port that another program listens on where this process is to keep
// the store there.
func (p Placement) checkPort() error {
	if p.Rank > 0 || p.agentStore || p.socket > 0 {
		return nil
	}
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(p.MasterPort))
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d (%s), where the processes are to meet, is in use: by another run, or another process with RANK=0; set %s to a free port in all processes", p.MasterPort, masterPort, masterPort)
	}
	if err != nil {
		return nil // libtorch may know better
	}
	return listener.Close()
}
