package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap/zapcore"

	"iddpm/distributed"
	"iddpm/internal/cli"
)

// launchGrace is the time for processes to exit after one of them has failed. On a GPU
// they may wait for it forever.
const launchGrace = time.Minute

// launched are the processes that this one started, by rank.
type launched []*exec.Cmd

// launch runs this command in several data-parallel processes, as torchrun does, and
// returns the result of rank 0.
func (p *program) launch(ctx context.Context, o sessionOptions) error {
	n, err := o.processCount()
	if err != nil {
		return err
	}
	p.quiet.Store(true)    // rank 0 reports
	runtime.LockOSThread() // the processes end with the thread that started them
	defer runtime.UnlockOSThread()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	all, err := distributed.Start(n, func() *exec.Cmd {
		c := exec.Command(self, os.Args[1:]...)
		c.Stdout, c.Stderr = p.stdout, p.stderr
		return c
	})
	if err != nil {
		return err
	}
	return launched(all).wait(ctx, func(text string) { p.say(zapcore.ErrorLevel, text) })
}

// processCount returns the number of processes to start.
func (o sessionOptions) processCount() (int, error) {
	gpus := 0
	if o.device != "cpu" {
		gpus = gotorch.CUDADeviceCount()
	}
	switch {
	case o.processes == 0 && gpus == 0:
		return 0, cli.Errorf("--processes 0 starts one process per GPU, and there is none: pass a number")
	case o.processes == 0:
		return gpus, nil
	case gpus > 0 && o.processes > gpus:
		return 0, cli.Errorf("--processes %d: each needs a GPU of its own, and there are %d", o.processes, gpus)
	}
	return o.processes, nil
}

// wait waits for all processes, forwards an interrupt to them, and returns the first error
// by rank. It reports processes that a signal has killed, which cannot report it
// themselves.
func (all launched) wait(ctx context.Context, say func(string)) error {
	ends, results := all.ends(), make([]error, len(all))
	interrupted := ctx.Done()
	var late <-chan time.Time
	for left := len(all); left > 0; {
		select {
		case <-interrupted:
			interrupted = nil
			all.signal(syscall.SIGTERM)
		case <-late:
			all.signal(syscall.SIGKILL)
		case e := <-ends:
			left--
			status := statusOf(all[e.rank].ProcessState, ctx.Err() != nil)
			if status == exitOutside && late == nil {
				say(fmt.Sprintf("process %d of the run was killed: %v", e.rank, e.err))
			}
			switch status {
			case exitDone:
				continue
			case exitSaved, exitInterrupted:
			default:
				late = time.After(launchGrace)
			}
			results[e.rank] = launchedError{max(status, exitFailed)}
		}
	}
	return cmp.Or(results...)
}

// processEnd is the end of a process.
type processEnd struct {
	rank int
	err  error // of [exec.Cmd.Wait]
}

// ends returns a channel with the end of each process.
func (all launched) ends() <-chan processEnd {
	ends := make(chan processEnd, len(all))
	for rank, c := range all {
		go func() { ends <- processEnd{rank, c.Wait()} }()
	}
	return ends
}

// exitOutside is the status of a process that a signal has killed.
const exitOutside = -1

// statusOf returns a process's exit status. A process that SIGTERM killed before it
// handled signals counts as interrupted.
func statusOf(p *os.ProcessState, interrupted bool) int {
	if w, ok := p.Sys().(syscall.WaitStatus); ok && interrupted && w.Signaled() && w.Signal() == syscall.SIGTERM {
		return exitInterrupted
	}
	return p.ExitCode()
}

func (all launched) signal(s os.Signal) {
	for _, c := range all {
		c.Process.Signal(s) // fails only if it has ended
	}
}
