package threads

import (
	"fmt"
	"os"
	"time"

	"github.com/prometheus/procfs"
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
)

// Options are options of an [Adapter].
type Options struct {
	Fixed bool        // keep the number of threads, and only report contention, once
	Log   *zap.Logger // nil: silent

	Now    func() time.Time                    // nil: time.Now
	Sample func(now time.Time) (Sample, error) // nil: from Linux's /proc
}

// Adapter sets libtorch's number of threads to that of a [Controller]. A nil *Adapter
// does nothing.
type Adapter struct {
	Options
	controller *Controller
	threads    int
	reported   bool
	looked     time.Time // when a sample was last taken
}

// Chosen reports whether the user has set the number of threads: by a flag of value n (0:
// not given), or by OMP_NUM_THREADS.
func Chosen(n int) bool { return n > 0 || os.Getenv("OMP_NUM_THREADS") != "" }

// NewAdapter returns an adapter that starts with libtorch's number of threads. It returns
// nil if that is 1, or if /proc does not report the CPU time of other processes.
func NewAdapter(o Options) *Adapter {
	a := &Adapter{Options: o, threads: gotorch.CurrentSettings().Threads}
	if a.threads < 2 {
		return nil
	}
	if a.Sample == nil {
		proc, err := procfs.NewDefaultFS()
		if err != nil {
			return nil
		}
		a.Sample = func(now time.Time) (Sample, error) { return readSample(proc, now) }
	}
	if a.Now == nil {
		a.Now = time.Now
	}
	if a.Log == nil {
		a.Log = zap.NewNop()
	}
	a.controller = NewController(a.threads)
	a.Adapt()
	return a
}

// Adapt is called between two steps. About once a second it samples the CPU time of other
// processes and sets the number of threads. It returns the new number, or 0 if it is
// unchanged. The fields are added to its log lines.
func (a *Adapter) Adapt(fields ...zap.Field) (changedTo int) {
	if a == nil || a.reported {
		return 0
	}
	now := a.Now()
	if now.Sub(a.looked) < interval {
		return 0
	}
	a.looked = now
	s, err := a.Sample(now)
	if err != nil {
		return 0
	}
	was, is := a.threads, a.controller.Next(s)
	if is == was {
		return 0
	}
	fields = append(fields, zap.String("other_programs_use", fmt.Sprintf("%.1f of %d cores", a.controller.others, s.Cores)), zap.Int("threads", was))
	if a.Fixed {
		a.reported = true
		a.Log.Warn("other programs use the cores: steps become many times slower",
			append(fields, zap.String("hint", fmt.Sprintf("stop them, or use fewer cores by --threads %d", is)))...)
		return 0
	}
	settings := gotorch.CurrentSettings()
	settings.Threads = is
	gotorch.Configure(settings)
	a.threads = is
	message := "other programs use the cores: computing with fewer threads"
	if is > was {
		message = "cores are free again: computing with more threads"
	}
	a.Log.Info(message, append(fields, zap.Int("now", is), zap.String("hint", fmt.Sprintf("the last bits of results depend on the number of threads: --threads %d fixes it", was)))...)
	return is
}
