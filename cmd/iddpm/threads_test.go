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
	before := gotorch.GetNumThreads()
	defer gotorch.SetNumThreads(before)
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
			gotorch.SetNumThreads(2)
			if fixed {
				args = append(args, "--threads", "2")
			}
			if fixed && name == "nll" {
				args = append(args, "--out-dir", "again") // the first evaluation is complete
			}
			got := contended(t, args...)
			want, has := int32(1), "computing with fewer threads"
			if fixed {
				want, has = 2, "use fewer cores by --threads 1"
			}
			if n := gotorch.GetNumThreads(); got.status != exitDone || n != want || strings.Count(got.stderr, has) != 1 {
				t.Errorf("%s, fixed: %t: %d threads, %d, %s", name, fixed, n, got.status, got.stderr)
			}
		}
	}
}
