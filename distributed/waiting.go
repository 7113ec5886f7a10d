package distributed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
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

	mu  sync.Mutex
	err error // why the store is not reached yet, where that is known
}

// failed notes why the store is not reached, or, with nil, that nothing is known to be wrong.
func (w *waiting) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
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
	err := w.err
	w.mu.Unlock()
	reason, upTo := "", ""
	if err != nil {
		reason = err.Error()
	}
	if w.at.WorldSize > 2 { // some may have come
		upTo = "up to "
	}
	w.tell(fmt.Sprintf("waiting for %s%d of %d processes (RANK=%d, WORLD_SIZE=%d) at %s", upTo, w.at.WorldSize-1, w.at.WorldSize,
		w.at.Rank, w.at.WorldSize, net.JoinHostPort(w.at.host(), strconv.Itoa(w.at.MasterPort))), reason, w.at.hint())
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
