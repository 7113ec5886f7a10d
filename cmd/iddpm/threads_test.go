package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/threads"
)

// contended runs a command on a simulated machine of two cores, one of which another program
// uses. Each reading of the clock advances it by a second.
func contended(t *testing.T, args ...string) outcome {
	s := threads.Sample{At: time.Unix(1e9, 0), Cores: 2}
	var stdout, stderr bytes.Buffer
	p := program{stdout: &stdout, stderr: &stderr, env: variables(nil), threads: threads.Options{
		Now: func() time.Time {
			s.At, s.Others = s.At.Add(time.Second), s.Others+time.Second
			return s.At
		},
		Sample: func(time.Time) (threads.Sample, error) { return s, nil },
	}}
	status := p.run(t.Context(), args)
	return outcome{status, stdout.String(), stderr.String()}
}

// TestCommandsAdaptThreads checks that every command that computes leaves cores to other
// programs, unless --threads is given.
func TestCommandsAdaptThreads(t *testing.T) {
	defer gotorch.Configure(gotorch.CurrentSettings())
	t.Setenv("OMP_NUM_THREADS", "")
	t.Chdir(t.TempDir())
	weights, err := madeUpWeights()
	if err != nil {
		t.Fatal(err)
	}
	if got := iddpm(t, trainTiny("run", "--steps", "1", "--learn-sigma")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	saveImages(t, "samples.npz", 4, 8)
	for name, args := range map[string][]string{
		"sample":   {"sample", "run", "--device", "cpu", "--num-samples", "4", "--batch-size", "2"},
		"nll":      {"nll", "run", "--device", "cpu", "--num-samples", "4", "--batch-size", "2"},
		"evaluate": {"evaluate", "samples.npz", "--inception", weights, "--device", "cpu", "--batch-size", "1"},
	} {
		for _, fixed := range []bool{false, true} {
			gotorch.Configure(gotorch.Settings{Threads: 2})
			if fixed {
				args = append(args, "--threads", "2")
			}
			if fixed && name == "nll" {
				args = append(args, "--out-dir", "again") // the first evaluation is complete
			}
			got := contended(t, args...)
			want, has := 1, "computing with fewer threads"
			if fixed {
				want, has = 2, "use fewer cores by --threads 1"
			}
			if n := gotorch.CurrentSettings().Threads; got.status != exitDone || n != want || strings.Count(got.stderr, has) != 1 {
				t.Errorf("%s, fixed: %t: %d threads, %d, %s", name, fixed, n, got.status, got.stderr)
			}
		}
	}
}

// TestSettings checks that each command sets what it needs, from libtorch's defaults on.
func TestSettings(t *testing.T) {
	defer gotorch.Configure(gotorch.Settings{Threads: gotorch.CurrentSettings().Threads})
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args []string
		want gotorch.Settings
	}{
		{trainTiny("run", "--steps", "1", "--deterministic", "--threads", "1"), gotorch.Settings{Threads: 1, Deterministic: true}},
		{[]string{"sample", "run", "--device", "cpu", "--num-samples", "1", "--threads", "2"}, gotorch.Settings{Threads: 2}},
		{trainTiny("again", "--steps", "1", "--threads", "1"), gotorch.Settings{Threads: 1, BenchmarkCUDNN: true}},
	} {
		if got := iddpm(t, c.args...); got.status != exitDone {
			t.Fatal(got.stderr)
		}
		if got := gotorch.CurrentSettings(); got != c.want {
			t.Errorf("%s leaves %+v, not %+v", c.args[0], got, c.want)
		}
	}
}
