package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/checkpoint"
)

// TestYoungEMA checks that every command uses the raw weights of a short run by default and
// says so once, that --ema overrides this, and that the commands that train prints work.
func TestYoungEMA(t *testing.T) {
	t.Chdir(t.TempDir())
	trained := iddpm(t, trainTiny("a b", "--steps", "2")...)
	if trained.status != exitDone {
		t.Fatal(trained.stderr)
	}
	const reason = "at step 2, EMA 0.9999 is still 99.98 % initial weights, and falls to half at step 6932"
	for _, want := range []string{"\nweights     of the last step: " + reason + "\n", "\nsample      iddpm sample 'a b'\n", "\nresume      iddpm resume 'a b' --steps 4\n"} {
		if !strings.Contains(trained.stdout, want) {
			t.Errorf("train does not say %q:\n%s", want, trained.stdout)
		}
	}
	for _, command := range [][]string{
		{"sample", "a b", "--num-samples", "1", "--device", "cpu"},
		{"nll", "a b", "--num-samples", "1", "--device", "cpu"},
		{"export", "a b", "-o", "w.pt"},
		{"figure", "vlb-terms", "a b", "-o", "f.png", "--num-pictures", "1", "--device", "cpu"},
	} {
		for _, test := range [][2]string{{"", "of the last step"}, {"none", "of the last step"}, {"0.9999", "EMA 0.9999"}} { // in order: a complete nll is not repeated
			ema, want := test[0], test[1]
			args := append(command, "--json")
			if ema != "" {
				args = append(args, "--ema", ema)
			}
			got := iddpm(t, args...)
			var result struct{ Weights string }
			if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone {
				t.Fatalf("%v: status %d, %s", args, got.status, got.stderr)
			}
			if result.Weights != want && command[0] != "figure" {
				t.Errorf("%v: weights %q, not %q", args, result.Weights, want)
			}
			said := strings.Count(got.stderr, "using the raw weights, not the EMA")
			if wanted := map[bool]int{true: 1}[ema == ""]; said != wanted || wanted == 1 && !strings.Contains(got.stderr, reason) {
				t.Errorf("%v: says it %d times: %s", args, said, got.stderr)
			}
		}
	}
	got := iddpm(t, "info", "a b")
	if !strings.Contains(got.stdout, "of the last step: "+reason) {
		t.Errorf("info: %s", got.stdout)
	}
	if got := iddpm(t, "info", "a b", "--json"); !strings.Contains(got.stdout, `"default_weights":"of the last step"`) {
		t.Errorf("info: %s", got.stdout)
	}
}

// TestYoungEMAOfTheReference checks that an EMA file of improved-diffusion is used as named,
// with the reason why it samples noise.
func TestYoungEMAOfTheReference(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, "export", tinyRun(t), "--reference-layout", "theirs"); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	args := append([]string{"sample", filepath.Join("theirs", "ema_0.9999_000002.pt"), "--num-samples", "2", "--device", "cpu", "--json", "-o", "s"},
		tiny[:len(tiny)-4]...)
	args = append(args, "--precision", "fp32")
	got := iddpm(t, args...)
	if got.status != exitDone || strings.Count(got.stderr, "as named") != 1 || !strings.Contains(got.stderr, "model000002.pt holds the raw weights") {
		t.Errorf("status %d, %s", got.status, got.stderr)
	}
	args[1] = filepath.Join("theirs", "model000002.pt")
	if got := iddpm(t, args...); got.status != exitDone || strings.Contains(got.stderr, "as named") {
		t.Errorf("status %d, %s", got.status, got.stderr)
	}
}

// TestInitFromYoungEMA checks that fine-tuning starts from the weights that sample would
// use.
func TestInitFromYoungEMA(t *testing.T) {
	t.Chdir(t.TempDir())
	run := tinyRun(t)
	got := iddpm(t, trainTiny("b", "--steps", "1", "--lr", "1e-30", "--init-from", run)...)
	if got.status != exitDone || !strings.Contains(got.stderr, "initialising from the weights of the last step") {
		t.Fatalf("status %d, %s", got.status, got.stderr)
	}
	from, err := checkpoint.Load(run)
	if err != nil {
		t.Fatal(err)
	}
	to, err := checkpoint.Load("b")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := from.Model.Get("out.2.bias")
	b, _ := to.Model.Get("out.2.bias")
	if data, want := tensorBytes(t, b), tensorBytes(t, a); !bytes.Equal(data, want) {
		t.Error("the weights are not the raw ones of --init-from")
	}
}

func tensorBytes(t *testing.T, value any) []byte {
	t.Helper()
	tensor, ok := value.(*pt.Tensor)
	if !ok {
		t.Fatalf("a %T, not a tensor", value)
	}
	return tensor.Data
}

// TestPostHocEMA trains with v-prediction, zero terminal SNR, importance sampling and power-function
// EMAs, and samples and evaluates an EMA of another length.
func TestPostHocEMA(t *testing.T) {
	t.Chdir(t.TempDir())
	args := trainTiny("run", "--steps", "4", "--predict", "v", "--zero-terminal-snr", "--loss-weight", "min-snr:5", "--schedule-sampler", "loss-second-moment",
		"--learn-sigma", "--power-ema", "0.05,0.10", "--power-ema-interval", "2")
	if got := iddpm(t, args...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	got := iddpm(t, "ema", "run", "--length", "0.1", "-o", "ema.pt", "--json")
	var result combined
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone {
		t.Fatalf("status %d, %s", got.status, got.stderr)
	}
	if result.Step != 4 || result.Snapshots != 2 || result.File != "ema.pt" || !(result.Residual < 1e-6) {
		t.Errorf("%+v", result)
	}
	got = iddpm(t, "info", "ema.pt", "--json")
	for _, want := range []string{`"power-function EMA of length 0.1"`, `"predict":"v"`, `"loss_weight":"min-snr:5"`, `"zero_terminal_snr":true`} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("info does not say %s: %s", want, got.stdout)
		}
	}
	absolute, err := filepath.Abs("run")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"sample", "ema.pt", "--num-samples", "1", "--device", "cpu"},
		{"sample", "run", "--ema", "power-0.05", "--num-samples", "1", "--device", "cpu"},
		{"nll", "ema.pt", "--num-samples", "1", "--device", "cpu"},
		{"ema", "run", "--length", "0.2", "--at-step", "2", "-o", "early.safetensors"},
		{"export", "early.safetensors", "-o", "weights.pt"},
		{"ema", "file://" + absolute, "--length", "0.1", "-o", "remote.pt", "--remote-cache", "cache"},
	} {
		if got := iddpm(t, command...); got.status != exitDone {
			t.Errorf("%v: status %d, %s", command, got.status, got.stderr)
		}
	}
	local, err := os.ReadFile("ema.pt")
	remote, otherErr := os.ReadFile("remote.pt")
	if err != nil || otherErr != nil || !bytes.Equal(local, remote) {
		t.Errorf("the EMA of a URL differs from that of the folder: %v, %v", err, otherErr)
	}
	for want, args := range map[string][]string{
		"--power-ema":  {"ema", "run", "--length", "0.1", "--at-step", "1", "-o", "x.pt"},
		"--length":     {"ema", "run", "-o", "x.pt"},
		"-o FILE":      {"ema", "run", "--length", "0.1"},
		"to 0.2887":    {"ema", "run", "--length", "1", "-o", "x.pt"},
		"holds the":    {"ema", "run", "--length", "0.1", "-o", "run/ema/x.pt"},
		"training sta": {"resume", "ema.pt", "--run-dir", "other"},
	} {
		if got := iddpm(t, args...); got.status == exitDone || !strings.Contains(got.stderr, want) {
			t.Errorf("%v: status %d, %s", args, got.status, got.stderr)
		}
	}
}
