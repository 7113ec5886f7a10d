package threads

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// madeUp generates samples of a machine with two cores, whose clock advances by step at
// every reading.
type madeUp struct {
	s    Sample
	step time.Duration
	busy float64 // cores that others use
	err  error
}

func (m *madeUp) now() time.Time {
	m.s.At = m.s.At.Add(m.step)
	m.s.Others += time.Duration(m.busy * float64(m.step))
	return m.s.At
}

func (m *madeUp) options(fixed bool, log *zap.Logger) Options {
	return Options{Fixed: fixed, Log: log, Now: m.now, Sample: func(time.Time) (Sample, error) { return m.s, m.err }}
}

func withThreads(t *testing.T, n int) {
	before := gotorch.Configure(gotorch.Settings{Threads: n})
	t.Cleanup(func() { gotorch.Configure(before) })
}

func TestAdapter(t *testing.T) {
	withThreads(t, 2)
	core, logs := observer.New(zapcore.InfoLevel)
	m := &madeUp{s: Sample{At: time.Unix(1e9, 0), Cores: 2}, step: time.Second}
	a := NewAdapter(m.options(false, zap.New(core)))
	var changes []int
	for i := range 20 {
		m.busy = []float64{0, 1, 0, 0}[i/5]
		if n := a.Adapt(zap.Int("step", i)); n > 0 {
			changes = append(changes, n)
			if got := gotorch.CurrentSettings().Threads; int(got) != n {
				t.Errorf("libtorch has %d threads, not %d", got, n)
			}
		}
	}
	if !slices.Equal(changes, []int{1, 2}) {
		t.Errorf("threads change to %v", changes)
	}
	said := logs.All()
	if len(said) != 2 {
		t.Fatalf("it logs %v", said)
	}
	if f := said[0].ContextMap(); f["step"] != int64(6) || f["threads"] != int64(2) || f["now"] != int64(1) || f["other_programs_use"] != "1.0 of 2 cores" {
		t.Errorf("it logs %v", f)
	}
}

// A number that the user has set is kept, and contention is logged once.
func TestAdapterKeepsWhatIsFixed(t *testing.T) {
	withThreads(t, 2)
	core, logs := observer.New(zapcore.InfoLevel)
	m := &madeUp{s: Sample{At: time.Unix(1e9, 0), Cores: 2}, step: time.Second}
	a := NewAdapter(m.options(true, zap.New(core)))
	for i := range 40 {
		m.busy = float64(i / 10 % 2)
		if n := a.Adapt(); n != 0 || gotorch.CurrentSettings().Threads != 2 {
			t.Fatalf("now there are %d threads", gotorch.CurrentSettings().Threads)
		}
	}
	if logs.FilterMessageSnippet("other programs use the cores").Len() != 1 || logs.Len() != 1 {
		t.Errorf("it logs %v", logs.All())
	}
}

func TestAdapterWithoutNeed(t *testing.T) {
	withThreads(t, 1)
	if a := NewAdapter(Options{}); a != nil || a.Adapt() != 0 {
		t.Error("one thread cannot become fewer")
	}
	gotorch.Configure(gotorch.Settings{Threads: 2})
	m := &madeUp{s: Sample{At: time.Unix(1e9, 0), Cores: 2}, step: time.Second, busy: 1, err: errors.New("no /proc")}
	a := NewAdapter(m.options(false, nil))
	for range 10 {
		if a.Adapt() != 0 {
			t.Error("it adapts without samples")
		}
	}
}

func TestChosen(t *testing.T) {
	t.Setenv("OMP_NUM_THREADS", "")
	if Chosen(0) || !Chosen(1) {
		t.Error("--threads chooses")
	}
	if t.Setenv("OMP_NUM_THREADS", "2"); !Chosen(0) {
		t.Error("OMP_NUM_THREADS chooses")
	}
}

// The process may use two of three cores. On these it has used 100 ticks, other processes
// 31, and niced ones 9.
func TestReadSample(t *testing.T) {
	proc := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(proc, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	write("stat", "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 60 4 10 5000 70 1 2 3 0 0\ncpu1 900 900 900 900 900 900 900 900 0 0\ncpu2 40 5 10 5000 80 1 2 2 0 0\n")
	write("7/status", "Name:\tiddpm\nCpus_allowed_list:\t0,2\n")
	if err := os.Symlink("7", filepath.Join(proc, "self")); err != nil {
		t.Fatal(err)
	}
	own := func(nice string) string {
		return "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 90 10 0 0 20 " + nice + " 3 0 5000 1000 100 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
	}
	fs, err := procfs.NewFS(proc)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	for nice, ticks := range map[string]time.Duration{"0": 31, "10": 40} {
		write("7/stat", own(nice))
		s, err := readSample(fs, now)
		if want := (Sample{At: now, Cores: 2, Others: ticks * 10 * time.Millisecond}); err != nil || s.Others.Round(time.Millisecond) != want.Others || s.Cores != 2 || s.At != now {
			t.Errorf("nice %s: %+v, %v, want %+v", nice, s, err, want)
		}
	}
	write("7/status", "Name:\tiddpm\nCpus_allowed_list:\t5\n")
	if _, err := readSample(fs, now); err == nil {
		t.Error("cores that /proc/stat does not list")
	}
	if fs, err = procfs.NewFS(t.TempDir()); err == nil {
		_, err = readSample(fs, now)
	}
	if err == nil {
		t.Error("an empty /proc")
	}
	if fs, err = procfs.NewDefaultFS(); err == nil {
		if s, err := readSample(fs, now); err != nil || s.Cores < 1 {
			t.Errorf("this machine's: %+v, %v", s, err)
		}
	}
}
