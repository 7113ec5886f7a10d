package distributed

import (
	"fmt"
	"os"
	"time"

	"github.com/wangkuiyi/gotorch"
)

// Within runs f. In it processes wait for one another for d at most, both on the host and where
// f waits for what their GPUs do together; elsewhere they wait for a day on the host, and on a
// GPU for ever. One that does not come in that time, or whose end NCCL notices, is lost: Within
// then returns an [*Error], whatever f has come to, since what the GPU has computed is of no use.
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

// watch runs f as Within does, as far as the GPU is concerned.
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

// watchdog ends a wait of the GPU for other processes, and so the host's for the GPU. Where
// not even that has the host come back, it ends the process.
type watchdog struct {
	limit    time.Duration // how long the wait may last
	slack    time.Duration // beyond that, so that a wait on the host ends first, by itself
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
