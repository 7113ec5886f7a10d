package train

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/checkpoint"
	"iddpm/internal/madeup"
	"iddpm/internal/threads"
	"iddpm/runconfig"
)

// twoThreads sets libtorch to two threads, as on a machine of two cores.
func twoThreads(t *testing.T) {
	t.Helper()
	before := gotorch.Configure(gotorch.Settings{Threads: 2})
	t.Cleanup(func() { gotorch.Configure(before) })
	t.Setenv("OMP_NUM_THREADS", "")
}

// contended returns an adapter to a simulated machine of two cores, one of which another
// program uses. Its clock advances by a second per step.
func contended(trainer *Trainer) *threads.Adapter {
	s := threads.Sample{At: time.Unix(1e9, 0), Cores: 2}
	return threads.NewAdapter(threads.Options{
		Log: trainer.run.Log, Fixed: !trainer.config.Train.AdaptThreads,
		Now: func() time.Time {
			s.At, s.Others = s.At.Add(time.Second), s.Others+time.Second
			return s.At
		},
		Sample: func(time.Time) (threads.Sample, error) { return s, nil },
	})
}

// A run uses one thread less while another program uses a core, and log and checkpoint say
// so, unless the user has chosen the number of threads.
func TestAdaptThreads(t *testing.T) {
	twoThreads(t)
	c := madeup.Run()
	c.Train.Threads = 0
	run := func(c runconfig.Config, omp string) (*checkpoint.Checkpoint, *observer.ObservedLogs) {
		t.Helper()
		t.Setenv("OMP_NUM_THREADS", omp)
		gotorch.Configure(gotorch.Settings{Threads: 2})
		core, logs := observer.New(zapcore.InfoLevel)
		trainer, err := New(c, Run{Dir: filepath.Join(t.TempDir(), "run"), Log: zap.New(core), AdaptThreads: true})
		if err == nil {
			trainer.threads.adapter = contended(trainer)
		}
		return finish(t, trainer, err), logs.FilterMessageSnippet("other programs use the cores")
	}
	adapted, logs := run(c, "")
	if got := adapted.Environment["adapted_threads"]; got != "1 from step 0" || gotorch.CurrentSettings().Threads != 1 {
		t.Errorf("the checkpoint says %q, with %d threads", got, gotorch.CurrentSettings().Threads)
	}
	if o := adapted.Config.Train; o.Threads != 2 || !o.AdaptThreads {
		t.Errorf("the configuration has %d threads, adapted: %t", o.Threads, o.AdaptThreads)
	}
	if logs.Len() != 1 || logs.FilterField(zap.Int("now", 1)).FilterField(zap.Int("step", 0)).Len() != 1 {
		t.Errorf("the log says %v", logs.All())
	}

	chosen, deterministic := c, c
	chosen.Train.Threads, deterministic.Train.Deterministic = 2, true
	for name, x := range map[string]struct {
		config runconfig.Config
		omp    string
	}{"--threads": {chosen, ""}, "--deterministic": {deterministic, ""}, "OMP_NUM_THREADS": {c, "2"}} {
		fixed, logs := run(x.config, x.omp)
		if o := fixed.Config.Train; o.Threads != 2 || o.AdaptThreads || fixed.Environment["adapted_threads"] != "" || gotorch.CurrentSettings().Threads != 2 {
			t.Errorf("%s: %d threads, adapted: %t, %v", name, o.Threads, o.AdaptThreads, fixed.Environment)
		}
		if logs.Len() != 1 || logs.All()[0].Level != zapcore.WarnLevel {
			t.Errorf("%s: the log says %v", name, logs.All())
		}
	}

	core, warnings := observer.New(zapcore.WarnLevel)
	resumed, err := Resume(adapted.Path, upTo(8), Run{Dir: filepath.Join(t.TempDir(), "again"), Log: zap.New(core)})
	if err == nil {
		resumed.threads.adapter = nil // this machine may be contended
	}
	last := finish(t, resumed, err)
	if got := last.Environment["adapted_threads"]; got != "1 from step 0, 2 from step 6" || !last.Config.Train.AdaptThreads {
		t.Errorf("resumed, the checkpoint says %q", got)
	}
	if warnings.FilterField(zap.String("threads", "1 from step 0")).Len() != 1 {
		t.Errorf("resumed, the log says %v", warnings.All())
	}
}

// A checkpoint lists only the latest changes.
func TestThreadHistory(t *testing.T) {
	var h threadHistory
	for step := range 3 * maxThreadChanges {
		h.note(1+step%2, step)
	}
	if len(h) != maxThreadChanges || h[len(h)-1] != "2 from step 149" {
		t.Errorf("%d changes, %s", len(h), h)
	}
	if again := parseThreadHistory(h.String()); again.String() != h.String() {
		t.Errorf("%s is read as %s", h, again)
	}
}
