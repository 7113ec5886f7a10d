package main

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/train"
	"iddpm/train/metrics"
)

// nll runs the command and returns its result.
func nll(t *testing.T, args ...string) nllResult {
	t.Helper()
	got := iddpm(t, append([]string{"nll", "--device", "cpu", "--precision", "fp32", "--threads", "1", "--json"}, args...)...)
	if got.status != exitDone {
		t.Fatalf("%v: status %d, %s", args, got.status, got.stderr)
	}
	var r nllResult
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatalf("%v: %v: %s", args, err, got.stdout)
	}
	return r
}

// heldOutRun trains a network with learned variances and holds images out.
func heldOutRun(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if got := iddpm(t, trainTiny(dir, "--steps", "3", "--learn-sigma", "--hold-out", "0.005")...); got.status != exitDone {
		t.Fatalf("training: %s", got.stderr)
	}
	return dir
}

func readArray(t *testing.T, path, name string) []float64 {
	t.Helper()
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	if arrays[name] == nil {
		t.Fatalf("%s lacks %s", path, name)
	}
	return arrays[name].Float64s()
}

func TestNLL(t *testing.T) {
	run := heldOutRun(t)
	r := nll(t, run, "--batch-size", "4")
	if r.NumSamples < 2 || r.NumSamples > 20 || r.Timesteps != 8 {
		t.Fatalf("%d images, %d timesteps: not what the run holds out", r.NumSamples, r.Timesteps)
	}
	dir := filepath.Join(run, "nll", "step-000003")
	for path, want := range map[string]string{r.VBTerms: "vb_terms.npz", r.MSETerms: "mse_terms.npz", r.XStartMSETerms: "xstart_mse_terms.npz", r.Figure: "vb_terms.png", r.Images: "nll.npz"} {
		if _, err := os.Stat(path); err != nil || path != filepath.Join(dir, want) {
			t.Errorf("%s, want %s in %s (%v)", path, want, dir, err)
		}
	}
	vb := readArray(t, r.VBTerms, "arr_0")
	sum := r.PriorBPD
	for _, term := range vb {
		sum += term
	}
	near := func(name string, got, want float64) {
		t.Helper()
		if !(math.Abs(got-want) <= 1e-5*math.Abs(want)) {
			t.Errorf("%s %v, want %v", name, got, want)
		}
	}
	near("total", r.TotalBPD, sum)
	near("decoder", r.DecoderBPD, vb[7])
	if r.TotalStderr <= 0 || r.PriorStderr <= 0 || len(readArray(t, r.Images, "total_bpd")) != r.NumSamples {
		t.Errorf("standard errors %v, %v", r.TotalStderr, r.PriorStderr)
	}
	respaced := nll(t, run, "--timestep-respacing", "4", "--num-samples", "3")
	if respaced.Timesteps != 4 || respaced.NumSamples != 3 || filepath.Dir(respaced.VBTerms) != dir+"-4" {
		t.Errorf("respaced: %d images, %d timesteps in %s", respaced.NumSamples, respaced.Timesteps, respaced.VBTerms)
	}
}

// TestNLLBatches checks that the batch size changes only the rounding.
func TestNLLBatches(t *testing.T) {
	run := heldOutRun(t)
	one := nll(t, run, "--batch-size", "1", "--out-dir", filepath.Join(run, "one"))
	all := nll(t, run, "--batch-size", "64", "--out-dir", filepath.Join(run, "all"))
	a, b := readArray(t, one.Images, "total_bpd"), readArray(t, all.Images, "total_bpd")
	for i := range a {
		if !(math.Abs(a[i]-b[i]) <= 1e-4*math.Abs(a[i])) {
			t.Errorf("image %d: %v by itself, %v with others", i, a[i], b[i])
		}
	}
}

// TestNLLResumes resumes an interrupted evaluation, to the bits of one without interrupt.
func TestNLLResumes(t *testing.T) {
	run := heldOutRun(t)
	whole := nll(t, run, "--batch-size", "2", "--out-dir", filepath.Join(run, "whole"), "--ema", "0.9999")
	part := filepath.Join(run, "part")
	args := []string{"nll", "--device", "cpu", "--precision", "fp32", "--threads", "1", run, "--batch-size", "2", "--out-dir", part, "--ema", "0.9999"}
	got := iddpmWith(&countdown{Context: context.Background(), left: 25}, nil, args...) // 10 checks per batch
	if got.status != exitSaved || !strings.Contains(got.lastLine(), "the same command resumes") {
		t.Fatalf("status %d, %s", got.status, got.lastLine())
	}
	rest := iddpm(t, append(args, "--ema", "0.99990")...) // the same EMA
	if rest.status != exitDone || !strings.Contains(rest.stderr, "resuming an evaluation") {
		t.Fatalf("status %d, %s", rest.status, rest.stderr)
	}
	for _, name := range []string{"total_bpd", "prior_bpd", "decoder_bpd", "vb_sum", "mse_sum", "xstart_mse_sum"} {
		a, b := readArray(t, whole.Images, name), readArray(t, filepath.Join(part, "nll.npz"), name)
		if !slices.Equal(a, b) {
			t.Errorf("%s: %v in two runs, %v in one", name, b, a)
		}
	}
	// The same command again has nothing to do. Another seed has other settings.
	if again := iddpm(t, args...); strings.Contains(again.stderr, "evaluating the bound") {
		t.Errorf("a finished evaluation was repeated: %s", again.stderr)
	}
	other := iddpm(t, append(args, "--seed", "1", "--num-samples", "2")...)
	if other.status != exitFailed || !strings.Contains(other.lastLine(), "other settings (pictures, seed): name another folder by -o") {
		t.Errorf("another seed: %d, %s", other.status, other.stderr)
	}
}

// TestNLLKeepsOthers checks that evaluations with different settings have folders of their own, and
// resume each by itself.
func TestNLLKeepsOthers(t *testing.T) {
	run := heldOutRun(t)
	first := nll(t, run, "--num-samples", "3")
	second := nll(t, run, "--num-samples", "2")
	third := nll(t, run, "--num-samples", "2", "--seed", "1")
	dir := filepath.Join(run, "nll", "step-000003")
	for i, r := range []nllResult{first, second, third, nll(t, run, "--num-samples", "2"), nll(t, run, "--num-samples", "3")} {
		end := []string{"", ".2", ".3", ".2", ""}[i]
		if filepath.Dir(r.Images) != dir+end || filepath.Dir(r.VBTerms) != dir+end {
			t.Errorf("evaluation %d is in %s and %s, not in %s", i, r.Images, r.VBTerms, dir+end)
		}
	}
	if got := len(readArray(t, first.Images, "total_bpd")); got != 3 {
		t.Errorf("the first evaluation has %d images", got)
	}
}

// TestNLLKeepsOthersWithoutRun checks the same outside of a run folder, where the results are in the
// working directory.
func TestNLLKeepsOthersWithoutRun(t *testing.T) {
	t.Chdir(t.TempDir())
	first := nllFile{settings: nllSettings{Seed: 1}, dir: "."}
	if err := first.save(&diffusion.BPDSum{}); err != nil {
		t.Fatal(err)
	}
	second := nllFile{settings: nllSettings{Seed: 2}, dir: "."}
	if _, err := second.choose(); err != nil || second.dir != "nll.2" {
		t.Errorf("the second evaluation is in %s: %v", second.dir, err)
	}
}

// TestNLLRefusesNaN evaluates weights with a NaN: an error, and no files.
func TestNLLRefusesNaN(t *testing.T) {
	run := heldOutRun(t)
	c, err := checkpoint.Load(run)
	if err != nil {
		t.Fatal(err)
	}
	bias, _ := c.Model.Get("out.2.bias")
	copy(bias.(*pt.Tensor).Data, []byte{0, 0, 0xc0, 0x7f})
	t.Chdir(t.TempDir())
	if err := pt.WriteFile("bare.pt", c.Model); err != nil {
		t.Fatal(err)
	}
	photos := filepath.Join(t.TempDir(), "photos")
	if err := os.Mkdir(photos, 0o777); err != nil {
		t.Fatal(err)
	}
	writeTo(t, filepath.Join(photos, "a.png"), pngOf(t, 8, 0))
	args := append([]string{"nll", "bare.pt", "--device", "cpu", "--learn-sigma", "--data-dir", photos, "-o", "out"}, tiny[:16]...)
	got := iddpm(t, args...)
	if got.status != exitFailed || !strings.Contains(got.lastLine(), "bound is NaN or infinite, in images 0 to 0") || got.stdout != "" {
		t.Errorf("%d: %s%s", got.status, got.stdout, got.stderr)
	}
	if _, err := os.Stat("out"); !os.IsNotExist(err) {
		t.Errorf("it wrote something: %v", err)
	}
}

// TestNLLDamagedFile checks that a damaged file of an earlier evaluation is named and replaced.
func TestNLLDamagedFile(t *testing.T) {
	run := heldOutRun(t)
	good := nll(t, run)
	if err := os.WriteFile(good.Images, []byte("PK"), 0o666); err != nil {
		t.Fatal(err)
	}
	got := iddpm(t, "nll", "--device", "cpu", "--precision", "fp32", run)
	if got.status != exitDone || !strings.Contains(got.stderr, "cannot be read: starting from scratch") {
		t.Errorf("status %d, %s", got.status, got.stderr)
	}
}

func TestNLLRefuses(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	if got := iddpm(t, trainTiny(run, "--steps", "1")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	bare := filepath.Join(t.TempDir(), "bare.pt")
	if got := iddpm(t, "export", run, "-o", bare); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	for _, test := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"no argument", nil, exitUsage, "iddpm nll CKPT_OR_RUN_DIR"},
		{"no images", []string{run, "--num-samples", "-1"}, exitUsage, "num-samples must not be negative"},
		{"no batch", []string{run, "--batch-size", "0"}, exitUsage, "batch-size must be above 0"},
		{"bare weights", append([]string{bare}, tiny[:16]...), exitUsage, "name images by --data-dir"},
		{"no such data", []string{run, "--data-dir", "nowhere"}, exitFailed, "nowhere"},
		{"no such average", []string{run, "--ema", "0.5", "--num-samples", "1"}, exitFailed, "no EMA of decay rate 0.5"},
		{"precision", []string{run, "--precision", "fp8"}, exitUsage, "fp8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := iddpm(t, append([]string{"nll", "--device", "cpu"}, test.args...)...)
			if got.status != test.status || !strings.Contains(got.lastLine(), test.want) {
				t.Errorf("status %d, %s; want %d, %s", got.status, got.lastLine(), test.status, test.want)
			}
		})
	}
}

// TestHeldOutEvaluationIsNLL compares the evaluation during training with nll of its checkpoint: they
// share images, noise and weights.
func TestHeldOutEvaluationIsNLL(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if got := iddpm(t, trainTiny(dir, "--steps", "3", "--learn-sigma", "--hold-out", "0.005", "--eval-interval", "3")...); got.status != exitDone {
		t.Fatalf("training: %s", got.stderr)
	}
	rows, err := metrics.Read(dir)
	if err != nil || len(rows) == 0 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	during, _ := rows[len(rows)-1].Get(train.EvalBPD)
	if r := nll(t, dir, "--batch-size", "4"); !(math.Abs(r.TotalBPD-during) <= 1e-6*during) {
		t.Errorf("%v bits/dim during training, %v by nll", during, r.TotalBPD)
	}
}
