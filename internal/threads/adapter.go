package threads

import (
	"fmt"
	"os"
	"time"

	"github.com/prometheus/procfs"
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
)

// Options are those of an [Adapter].
type Options struct {
	Fixed bool        // the number of threads stays, and contention is only reported, once
	Log   *zap.Logger // nil: silent

	Now    func() time.Time                    // nil: time.Now
	Sample func(now time.Time) (Sample, error) // nil: from Linux's /proc
}

// Adapter has libtorch compute with as many threads as a [Controller] decides on. A nil
// *Adapter changes nothing.
type Adapter struct {
	Options
	controller *Controller
	threads    int
	reported   bool
	looked     time.Time // when a sample was last taken
}

// Chosen reports whether the user has chosen the number of threads, by a flag whose value
// is n, or 0 without it, or by OpenMP's environment variable.
func Chosen(n int) bool { return n > 0 || os.Getenv("OMP_NUM_THREADS") != "" }

// NewAdapter returns an adapter that begins with the number of threads that libtorch has.
// It is nil where that is 1, or where the kernel does not say what other programs use.
func NewAdapter(o Options) *Adapter {
	a := &Adapter{Options: o, threads: int(gotorch.GetNumThreads())}
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

// Adapt is to be called between two steps of work. About once a second it looks at what
// other programs use, and sets the number of threads, which it returns if it is another
// one than before, or else 0. The fields are added to what it logs.
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
		a.Log.Warn("other programs use the cores that this one computes on, which makes it many times slower",
			append(fields, zap.String("hint", fmt.Sprintf("end them, or leave cores to them by --threads %d", is)))...)
		return 0
	}
	gotorch.SetNumThreads(int32(is))
	a.threads = is
	message := "other programs use the cores: computing with fewer threads"
	if is > was {
		message = "cores are free again: computing with more threads"
	}
	a.Log.Info(message, append(fields, zap.Int("now", is), zap.String("hint", fmt.Sprintf("the last bits of results depend on the number: --threads %d keeps it", was)))...)
	return is
}
