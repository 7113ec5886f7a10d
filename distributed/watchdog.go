package distributed

import (
	"fmt"
	"os"
	"time"

	"github.com/wangkuiyi/gotorch"
)

// Within runs f with a timeout of d for waits on other processes, both on the host and on
// GPUs; outside Within the timeout is a day on the host, and infinite on a GPU. A process
// that does not arrive in time, or whose end NCCL reports, is lost: Within then returns an
// [*Error], whatever f returned, since the GPU's results are invalid.
func (g *Group) Within(d time.Duration, f func() error) error {
	if g == nil {
		return f()
	}
	g.group.SetTimeout(d)
	defer func() {
		if !g.Lost() {
			g.group.SetTimeout(0)
		}
	}()
	return g.watch(d, f)
}

// watch runs f with the timeout for waits on a GPU.
func (g *Group) watch(d time.Duration, f func() error) (err error) {
	if !g.usesGPU {
		return f()
	}
	w := &watchdog{limit: d, slack: time.Second, interval: time.Second, grace: time.Minute, check: gotorch.CheckNCCL, abort: gotorch.AbortNCCL}
	var refused error
	cause := w.watch(func() { refused = gotorch.Try(func() { err = f() }) })
	switch {
	case cause != nil:
		g.lost.Store(true)
		return &Error{Lost: true, Hung: true, Err: cause}
	case refused != nil:
		return g.asLoss(refused)
	}
	return err
}

// watchdog aborts a GPU's wait for other processes, and so the host's wait for the GPU. If
// the host still does not return, it ends the process.
type watchdog struct {
	limit    time.Duration // timeout of the wait
	slack    time.Duration // added to it, so that a wait on the host times out first
	interval time.Duration // between two checks
	grace    time.Duration // for the host to come back
	check    func()        // panics with a [*gotorch.Error] where a process is known to be gone
	abort    func()        // ends the wait

	returned chan struct{} // closed when the host is back
	cause    chan error    // why the wait was ended, or nil
}

// watch runs f, and returns why it has ended a wait of f's, or nil.
func (w *watchdog) watch(f func()) error {
	w.returned, w.cause = make(chan struct{}), make(chan error, 1)
	go w.run()
	f()
	close(w.returned)
	return <-w.cause
}

func (w *watchdog) run() {
	limit, check := time.NewTimer(w.limit+w.slack), time.NewTicker(w.interval)
	defer limit.Stop()
	defer check.Stop()
	for {
		select {
		case <-w.returned:
			w.cause <- nil
			return
		case <-limit.C:
			w.end(fmt.Errorf("the GPU has waited for them for %v", w.limit))
			return
		case <-check.C:
			if err := gotorch.Try(w.check); err != nil {
				w.end(err)
				return
			}
		}
	}
}

func (w *watchdog) end(cause error) {
	w.cause <- cause
	exit := time.AfterFunc(w.grace, func() {
		fmt.Fprintf(os.Stderr, "%v; the GPU does not come back: the process ends\n", &Error{Lost: true, Err: cause})
		os.Exit(1)
	})
	go func() { _ = gotorch.Try(w.abort) }() // it may itself wait for ever
	<-w.returned
	exit.Stop()
}
