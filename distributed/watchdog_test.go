package distributed

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wangkuiyi/gotorch"
)

// forever is longer than a test takes.
const forever = time.Hour

func TestWatchdog(t *testing.T) {
	gone := func() { panic(&gotorch.Error{Op: "CheckNCCL", Message: "a process is gone"}) }
	for _, test := range []struct {
		name    string
		limit   time.Duration
		check   func()
		waits   bool // until it is aborted
		ended   string
		aborted bool
	}{
		{"returns in time", forever, func() {}, false, "", false},
		{"waits too long", 20 * time.Millisecond, func() {}, true, "waited for them for 20ms", true},
		{"a process is gone", forever, gone, true, "a process is gone", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			aborted := make(chan struct{})
			w := watchdog{limit: test.limit, interval: time.Millisecond, grace: forever, check: test.check, abort: func() { close(aborted) }}
			cause := w.watch(func() {
				if test.waits {
					<-aborted
				}
			})
			if text := textOf(cause); !strings.Contains(text, test.ended) || test.ended == "" && text != "" {
				t.Errorf("ended by %q, not %q", text, test.ended)
			}
			select {
			case <-aborted:
			default:
				if test.aborted {
					t.Error("not aborted")
				}
			}
		})
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Where an abort hangs as well the process ends; where it only hangs itself the host goes on.
func TestWatchdogGrace(t *testing.T) {
	if os.Getenv("WATCHDOG") != "" {
		w := watchdog{limit: time.Millisecond, interval: forever, grace: 50 * time.Millisecond, check: func() {}, abort: func() { select {} }}
		w.watch(func() { select {} })
	}
	c := exec.Command(os.Args[0], "-test.run=^TestWatchdogGrace$", "-test.timeout=1m")
	c.Env = append(os.Environ(), "WATCHDOG=1")
	said, err := c.CombinedOutput()
	if c.ProcessState.ExitCode() != 1 || !strings.HasPrefix(string(said), "lost touch with the other processes") || !strings.Contains(string(said), "the process ends") {
		t.Errorf("%v: %s", err, said)
	}

	back := make(chan struct{})
	w := watchdog{limit: time.Millisecond, interval: forever, grace: 20 * time.Millisecond, check: func() {}, abort: func() { close(back); select {} }}
	if w.watch(func() { <-back }) == nil {
		t.Error("the wait did not end")
	}
	time.Sleep(100 * time.Millisecond) // longer than the grace, which must be over
}
