package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/distributed"
	"iddpm/internal/cli"
	"iddpm/internal/runs"
)

// outcome is the status and the output of a command.
type outcome struct {
	status         int
	stdout, stderr string
}

func iddpm(t *testing.T, args ...string) outcome {
	t.Helper()
	got := iddpmWith(context.Background(), nil, args...)
	for _, flag := range foreignFlags(args, got) {
		t.Errorf("iddpm %s: %s, but that command has no %s", strings.Join(args, " "), got.lastLine(), flag)
	}
	return got
}

var (
	flagInText    = regexp.MustCompile(`--[a-z][a-z-]+`)
	otherCommands = regexp.MustCompile("iddpm (train|resume|sample|nll|evaluate|export|info|data|bench|figure)\\b[^\n]*|docker run[^\n]*")
)

// foreignFlags returns the flags in a command's error that the command lacks. A flag after
// another command's name may be that command's.
func foreignFlags(args []string, got outcome) (foreign []string) {
	syntax := appSyntax()
	line, err := cli.Parse(syntax, args)
	if err != nil || got.status == exitDone {
		return nil
	}
	own := syntax.Of(line.Command)
	for _, flag := range flagInText.FindAllString(otherCommands.ReplaceAllString(got.lastLine(), ""), -1) {
		if _, has := own.Flags[strings.TrimPrefix(flag, "--")]; !has {
			foreign = append(foreign, flag)
		}
	}
	return foreign
}

func iddpmWith(ctx context.Context, env map[string]string, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	p := program{stdout: &stdout, stderr: &stderr, env: variables(env)}
	for name, value := range env {
		p.environ = append(p.environ, name+"="+value)
	}
	status := p.run(ctx, args)
	return outcome{status, stdout.String(), stderr.String()}
}

// lastLine is the error after the log, with its lines of advice.
func (o outcome) lastLine() string {
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	last := len(lines) - 1
	for last > 0 && strings.HasPrefix(lines[last], "  ") {
		last--
	}
	return strings.Join(lines[last:], "\n")
}

// tiny is a network that trains in milliseconds.
var tiny = []string{"--image-size", "8", "--num-channels", "32", "--num-res-blocks", "1", "--channel-mult", "1",
	"--attention-resolutions", "8", "--num-heads", "1", "--diffusion-steps", "8", "--noise-schedule", "cosine", "--threads", "1", "--precision", "fp32",
	"--batch-size", "4"}

func trainTiny(dir string, args ...string) []string {
	all := append([]string{"train", "--device", "cpu", "--run-dir", dir}, tiny...)
	return append(all, args...)
}

func TestHelp(t *testing.T) {
	for _, test := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"COMMANDS", "resume", "IDDPM_NUM_CHANNELS"}},
		{[]string{"help"}, []string{"COMMANDS"}},
		{[]string{"help", "train"}, []string{"iddpm train --preset cifar10", "Diffusion", "--num-channels N", "(default: 128)", "--learn-sigma  "}},
		{[]string{"train", "--help"}, []string{"--data-dir DIR"}},
		{[]string{"info", "--help"}, []string{"\n     imagenet64-cond       ImageNet at 64 pixels by class"}},
		{[]string{"sample", "-h"}, []string{"--timestep-respacing", "samples_NxHxWx3.npz"}},
		{[]string{"bench"}, []string{"sample", "train", "load"}},
		{[]string{"help", "bench", "train"}, []string{"--warmup"}},
		{[]string{"--version"}, []string{"iddpm unknown (libtorch 2.11.0)"}},
	} {
		got := iddpm(t, test.args...)
		if got.status != exitDone || got.stderr != "" {
			t.Errorf("%v: status %d, %s", test.args, got.status, got.stderr)
		}
		for _, want := range test.want {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("%v: help lacks %q:\n%s", test.args, want, got.stdout)
			}
		}
		for _, line := range strings.Split(got.stdout, "\n") {
			if strings.Contains(line, "use-fp16") || strings.Contains(line, "model-path") {
				t.Errorf("%v: help shows a flag for the reference's sake: %s", test.args, line)
			}
		}
	}
}

// TestWrongUse checks that incorrect usage gives one line and leaves no run folder.
func TestWrongUse(t *testing.T) {
	images := t.TempDir()
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(images, "a.png"), []byte("not an image"), 0o666); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.pt")
	theirs := new(pt.Dict)
	theirs.Set("epoch", int64(3))
	if err := pt.WriteFile(other, theirs); err != nil {
		t.Fatal(err)
	}
	noZip := writeFile(t, "text.pt", "no checkpoint")
	for _, test := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"unknown flag", []string{"train", "--lern_sigma", "True"}, exitUsage, "did you mean --learn-sigma?"},
		{"unknown command", []string{"trane"}, exitUsage, "did you mean train?"},
		{"unknown preset", []string{"train", "--preset", "cifar"}, exitUsage, "cifar10, cifar10-vlb"},
		{"unknown device", []string{"train", "--device", "tpu"}, exitUsage, "use cpu, cuda or cuda:N"},
		{"argument of train", []string{"train", "photos"}, exitUsage, "accepts only flags, not photos (--data-dir names images)"},
		{"no argument", []string{"resume"}, exitUsage, "iddpm resume CKPT_OR_RUN_DIR"},
		{"two arguments", []string{"sample", "a", "b"}, exitUsage, "a b"},
		{"missing folder", []string{"train", "--data-dir", filepath.Join(empty, "nowhere")}, exitFailed, "nowhere"},
		{"empty folder", []string{"train", "--data-dir", empty}, exitFailed, empty},
		{"text named png", []string{"train", "--data-dir", images}, exitFailed, "a.png"},
		{"odd image size", []string{"train", "--image-size", "33", "--channel-mult", "1,2,2,2"}, exitUsage, "image-size 33 cannot be halved 3 times"},
		{"no steps", []string{"train", "--diffusion-steps", "0"}, exitUsage, "steps"},
		{"microbatch", []string{"train", "--batch-size", "2", "--microbatch", "4"}, exitUsage, "microbatch 4 is larger than batch-size 2"},
		{"precision", []string{"train", "--precision", "fp8"}, exitUsage, `precision "fp8" is not one of`},
		{"background", []string{"train", "--background", "whitish"}, exitUsage, `background: "whitish" is not a colour`},
		{"cache", []string{"train", "--cache", "much"}, exitUsage, `cache: "much" is not a size of memory`},
		{"schedule", []string{"train", "--noise-schedule", "cubic"}, exitUsage, "cubic"},
		{"checkpoint of another program", []string{"resume", other}, exitFailed, "was written by another program"},
		{"no checkpoint", []string{"sample", noZip}, exitFailed, "text.pt"},
		{"missing checkpoint", []string{"sample", filepath.Join(empty, "a.pt")}, exitFailed, "a.pt"},
		{"folder without a run", []string{"resume", empty}, exitFailed, "is it a run folder?"},
		{"no samples", []string{"sample", "a", "--num-samples", "0"}, exitUsage, "num-samples must be above 0"},
		{"eta without DDIM", []string{"sample", "a", "--eta", "1"}, exitUsage, "add --use-ddim"},
		{"info of nothing", []string{"info", "nothing"}, exitFailed, "neither a checkpoint, nor a run folder, nor a preset (emoji,"},
		{"bench without steps", []string{"bench", "train", "--steps", "0"}, exitUsage, "steps must be above 0"},
		{"bench load without batches", []string{"bench", "load", "--batch-size", "0"}, exitUsage, "must be above 0"},
		{"argument of bench", []string{"bench", "load", "foo"}, exitUsage, "iddpm bench load accepts only flags, not foo"},
		{"noise of nothing", []string{"figure", "noising", "--image-size", "0"}, exitUsage, "image-size must be above 0"},
		{"too many threads", []string{"train", "--threads", "100000"}, exitUsage, fmt.Sprintf("not 100000: this machine has %d cores", runtime.NumCPU())},
		{"negative threads", []string{"train", "--threads", "-1"}, exitUsage, "--threads must be from 0, one per core, to "},
		{"too many threads to go on", []string{"resume", "a", "--threads", "100000"}, exitUsage, "not 100000: this machine has"},
		{"auto-resume without a folder", []string{"train", "--auto-resume"}, exitUsage, "--auto-resume needs --run-dir"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			got := iddpm(t, test.args...)
			if got.status != test.status || !strings.HasPrefix(got.lastLine(), "iddpm: ") || !strings.Contains(got.lastLine(), test.want) {
				t.Errorf("status %d, not %d: %s", got.status, test.status, got.stderr)
			}
			if got.stdout != "" {
				t.Errorf("printed %s", got.stdout)
			}
			if left, _ := filepath.Glob("runs/*"); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

// TestLastErrorMessage checks that errors with --log-json are JSON, and the message of an
// interrupt.
func TestLastErrorMessage(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "1")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	const nothing = "interrupted before there was anything to save"
	for _, test := range []struct {
		ctx    context.Context
		args   []string
		status int
		want   string // the last line
	}{
		{t.Context(), []string{"train", "--run-dir", "a", "--log-json"}, exitFailed, `"msg":"a already holds a run\n(resume it by`},
		{t.Context(), []string{"train", "--threads", "-1", "--log-json"}, exitUsage, `{"level":"error",`},
		{cancelled, []string{"sample", "a", "--device", "cpu"}, exitInterrupted, "iddpm: " + nothing + "\n"},
		{cancelled, []string{"sample", "a", "--device", "cpu", "--log-json"}, exitInterrupted, `"msg":"` + nothing + `"}`},
		{cancelled, trainTiny("c"), exitSaved, "iddpm: interrupted; the run is saved\n"},
		{cancelled, trainTiny("b", "--log-json"), exitSaved, `"msg":"interrupted; the run is saved"}`},
	} {
		got := iddpmWith(test.ctx, nil, test.args...)
		if got.status != test.status || !strings.Contains(got.lastLine()+"\n", test.want) {
			t.Errorf("%v: status %d, not %d: %s", test.args, got.status, test.status, got.lastLine())
		}
		if strings.Contains(got.stdout, "no steps were left") {
			t.Errorf("%v: printed %s", test.args, got.stdout)
		}
		if slices.Contains(test.args, "--log-json") && !json.Valid([]byte(got.lastLine())) {
			t.Errorf("%v: not JSON: %s", test.args, got.lastLine())
		}
	}
}

func TestTrainResumeSampleInfo(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "2")...); got.status != exitDone || !strings.Contains(got.stdout, "iddpm resume a --steps 4") {
		t.Fatalf("train: %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	if got := iddpm(t, trainTiny("a")...); got.status != exitFailed || !strings.Contains(got.lastLine(), "iddpm resume a") {
		t.Errorf("train again: %d, %s", got.status, got.lastLine())
	}
	var summary struct{ Step int }
	got := iddpm(t, trainTiny("a", "--steps", "3", "--auto-resume", "--json")...)
	if err := json.Unmarshal([]byte(got.stdout), &summary); err != nil || got.status != exitDone || summary.Step != 3 || strings.Contains(got.stderr, "defaults") {
		t.Errorf("--auto-resume: %d, %s%s", got.status, got.stdout, got.stderr)
	}
	got = iddpm(t, "resume", "a", "--steps", "4", "--json", "--device", "cpu", "--log-json")
	if err := json.Unmarshal([]byte(got.stdout), &summary); err != nil || got.status != exitDone || summary.Step != 4 {
		t.Errorf("resume: %d, %s%s", got.status, got.stdout, got.stderr)
	}
	for _, line := range strings.Split(strings.TrimSpace(got.stderr), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("--log-json logs %s", line)
		}
	}
	testSample(t)
	var info struct {
		Step       int
		Parameters int64
		Memory     struct {
			Checkpoint int64 `json:"checkpoint_bytes"`
		}
	}
	got = iddpm(t, "info", "a", "--json")
	if err := json.Unmarshal([]byte(got.stdout), &info); err != nil || info.Step != 4 || info.Parameters == 0 {
		t.Errorf("info: %d, %s%s", got.status, got.stdout, got.stderr)
	}
	file, err := os.Stat("a/checkpoints/ckpt-000004.pt")
	if err != nil {
		t.Fatal(err)
	}
	if ratio := float64(info.Memory.Checkpoint) / float64(file.Size()); ratio < 0.8 || ratio > 1 {
		t.Errorf("info expects %d bytes, the checkpoint has %d", info.Memory.Checkpoint, file.Size())
	}
}

// testSample samples from the run in a: the images depend neither on the batch size nor on
// how the checkpoint is named.
func testSample(t *testing.T) {
	t.Helper()
	var first []uint8
	for _, args := range [][]string{
		{"sample", "a", "-o", "s1", "--batch-size", "5"},
		{"sample", "--model_path", "a/checkpoints/ckpt-000004.pt", "-o", "s2", "--batch-size", "2", "--ema", "none"},
	} {
		got := iddpm(t, append(args, "--num_samples", "5", "--timestep_respacing", "3", "--device", "cpu", "--precision", "fp32", "--json")...)
		var result sampleResult
		if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone || result.Timesteps != 3 {
			t.Fatalf("%v: %d, %s%s", args, got.status, got.stdout, got.stderr)
		}
		arrays, err := npy.ReadNPZ(result.Samples)
		if err != nil {
			t.Fatal(err)
		}
		pixels, err := arrays["arr_0"].Uint8s()
		if err != nil || len(pixels) != 5*8*8*3 || len(arrays) != 1 {
			t.Fatalf("%v: %d bytes in %d arrays, %v", args, len(pixels), len(arrays), err)
		}
		if first == nil {
			first = pixels
		} else if !bytes.Equal(first, pixels) {
			t.Errorf("%v gives other images", args)
		}
		if _, err := os.Stat(result.Grid); err != nil {
			t.Error(err)
		}
	}
}

func TestSampleByClassAndFromBareWeights(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("c", "--steps", "1", "--class-cond")...); got.status != exitDone {
		t.Fatalf("train: %s", got.stderr)
	}
	draw := func(args ...string) map[string]*npy.Array {
		t.Helper()
		got := iddpm(t, append(args, "--num-samples", "4", "--timestep-respacing", "2", "--json", "--use-ddim", "--threads", "1", "--device", "cpu", "--precision", "fp32")...)
		var result sampleResult
		if err := json.Unmarshal([]byte(got.stdout), &result); err != nil {
			t.Fatalf("%v: %d, %s", args, got.status, got.stderr)
		}
		arrays, err := npy.ReadNPZ(result.Samples)
		if err != nil {
			t.Fatal(err)
		}
		return arrays
	}
	labels, err := draw("sample", "c", "--class", "1,3")["arr_1"].Int64s()
	if err != nil || len(labels) != 4 || labels[0] != 1 || labels[1] != 3 || labels[2] != 1 {
		t.Errorf("labels %v, %v", labels, err)
	}
	if got := iddpm(t, "sample", "c", "--class", "9999", "--device", "cpu"); got.status != exitUsage || !strings.Contains(got.lastLine(), "--class 9999") {
		t.Errorf("class 9999: %d, %s", got.status, got.lastLine())
	}
	whole, err := pt.ReadFile("c/checkpoints/ckpt-000001.pt")
	if err != nil {
		t.Fatal(err)
	}
	weights, _ := whole.(*pt.Dict).Get("model")
	if err := pt.WriteFile("bare.pt", weights); err != nil {
		t.Fatal(err)
	}
	bare := append([]string{"sample", "bare.pt", "-o", "bare", "--class_cond", "True"}, tiny[:16]...)
	fromRun := draw("sample", "c", "--ema", "none", "-o", "run")
	fromBare := draw(bare...)
	if !bytes.Equal(fromRun["arr_0"].Data, fromBare["arr_0"].Data) || !bytes.Equal(fromRun["arr_1"].Data, fromBare["arr_1"].Data) {
		t.Error("bare weights give other images than their checkpoint")
	}
	testBareWeights(t, fromRun["arr_0"].Data, draw)
}

// TestInterrupt checks that an interrupted command saves, says so, and exits with 75.
func TestInterrupt(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	got := iddpmWith(ctx, nil, trainTiny("a", "--steps", "100")...)
	if got.status != exitSaved || !strings.Contains(got.lastLine(), "saved") {
		t.Errorf("train: %d, %s", got.status, got.stderr)
	}
	if got := iddpm(t, "resume", "a", "--steps", "1", "--device", "cpu"); got.status != exitDone {
		t.Errorf("resume: %d, %s", got.status, got.stderr)
	}
	got = iddpmWith(ctx, nil, "sample", "a", "--device", "cpu")
	if got.status != exitInterrupted || got.stdout != "" {
		t.Errorf("sample: %d, %s%s", got.status, got.stdout, got.stderr)
	}
}

// TestMain lets the test binary act as the program.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_PROGRAM") != "" {
		main()
	}
	// Tests compare bits: the number of threads must not adapt to other programs.
	if _, set := os.LookupEnv("OMP_NUM_THREADS"); !set {
		var alone *distributed.Group
		os.Setenv("OMP_NUM_THREADS", strconv.Itoa(alone.CPUs()))
	}
	status := m.Run()
	os.Remove(madeUpFile)
	os.Exit(status)
}

// TestSampleInterruptedInPart checks that an interrupt keeps the finished batches.
func TestSampleInterruptedInPart(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "1")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	ctx := &countdown{Context: context.Background(), left: 8 + 8 + 3}
	got := iddpmWith(ctx, nil, "sample", "a", "--device", "cpu", "--batch-size", "2", "--num-samples", "100", "-o", ".", "--json")
	var result sampleResult
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitSaved || result.NumSamples != 4 {
		t.Fatalf("status %d: %s%s", got.status, got.stdout, got.stderr)
	}
	if arrays, err := npy.ReadNPZ("samples_4x8x8x3.npz"); err != nil || arrays["arr_0"].Shape[0] != 4 {
		t.Errorf("%v, %v", arrays, err)
	}
}

// countdown is a context that is cancelled after a number of calls of Err.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestReferenceCommandLine runs improved-diffusion's command line, with its variable for the
// run folder.
func TestReferenceCommandLine(t *testing.T) {
	t.Chdir(t.TempDir())
	args := strings.Fields("train --image_size 8 --num_channels 32 --num_res_blocks 1 --learn_sigma True --diffusion_steps 4000 --noise_schedule cosine " +
		"--lr 1e-4 --batch_size 8 --steps 1 --channel_mult 1 --use_fp16 False --fp16_scale_growth 1e-3 --resume_checkpoint= --threads 1 --device cpu")
	got := iddpmWith(context.Background(), map[string]string{"OPENAI_LOGDIR": "logs"}, args...)
	if got.status != exitDone || !strings.Contains(got.stdout, "logs/checkpoints/ckpt-000001.pt") {
		t.Fatalf("%d: %s%s", got.status, got.stdout, got.stderr)
	}
	got = iddpm(t, "train", "--resume_checkpoint", "logs/checkpoints/ckpt-000001.pt", "--steps", "2", "--device", "cpu")
	if got.status != exitDone || !strings.Contains(got.stdout, "logs/checkpoints/ckpt-000002.pt") {
		t.Errorf("--resume_checkpoint: %d: %s%s", got.status, got.stdout, got.stderr)
	}
}

// TestDataName names runs after their images.
func TestDataName(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	for dir, want := range map[string]string{
		"photos": "photos", "/mnt/my photos/": "my-photos", "cifar-10-binary.tar.gz": "cifar-10-binary", "../.hidden/a.zip": "a",
		".": filepath.Base(here), "/": "custom", "...": "custom", strings.Repeat("x", 100): strings.Repeat("x", 40), "été": "été",
	} {
		if got := dataName(dir, "custom"); got != want {
			t.Errorf("%s: %s, want %s", dir, got, want)
		}
	}
}

// TestRunDir checks that default run folders are numbered and named after their preset.
func TestRunDir(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, want := range []string{"runs/001-emoji", "runs/002-custom"} {
		_, name, _ := strings.Cut(want, "-")
		dir, _, err := runs.NewDir("", name)
		if err != nil || dir != want {
			t.Errorf("%s, %v, want %s", dir, err, want)
		}
	}
	dir, release, err := runs.NewDir("", "emoji")
	if err != nil || dir != "runs/003-emoji" {
		t.Errorf("%s, %v", dir, err)
	}
	release()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there", dir)
	}
	if dir, _, err := runs.NewDir("here", "emoji"); err != nil || dir != "here" {
		t.Errorf("%s, %v", dir, err)
	}
}

func TestBench(t *testing.T) {
	for _, what := range []string{"train", "sample"} {
		args := append([]string{"bench", what, "--device", "cpu", "--steps", "3", "--warmup", "1"}, tiny...)
		got := iddpm(t, args...)
		var result map[string]any
		if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone {
			t.Fatalf("%s: %d, %s%s", what, got.status, got.stdout, got.stderr)
		}
		for _, field := range []string{"what", "mode", "device", "torch", "threads", "image_size", "num_channels", "num_res_blocks", "batch_size",
			"seconds_per_step", "best_seconds", "images_per_second", "parameters", "peak_cuda_bytes"} {
			if _, ok := result[field]; !ok {
				t.Errorf("%s: no %s in %s", what, field, got.stdout)
			}
		}
		if result["what"] != what || result["threads"] != 1.0 || result["batch_size"] != 4.0 || result["mode"] != "fp32" {
			t.Errorf("%s: %s", what, got.stdout)
		}
	}
}

// TestBenchProcesses times the steps of two processes, of which one reports.
func TestBenchProcesses(t *testing.T) {
	got := programAlone(append([]string{"bench", "train", "--device", "cpu", "--steps", "2", "--warmup", "1", "--processes", "2"}, tiny...)...)
	var result benchResult
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone {
		t.Fatalf("%d, %s%s", got.status, got.stdout, got.stderr)
	}
	if result.Processes != 2 || result.BatchSize != 4 || !(result.ImagesPerSecond > 0) {
		t.Errorf("%s", got.stdout)
	}
	for refused, flags := range map[string][]string{
		"--products runs in one process":                   {"--processes", "2", "--products"},
		"batch-size 4 is not divisible by the 3 processes": {"--processes", "3"},
	} {
		got := programAlone(append(append([]string{"bench", "train", "--device", "cpu"}, tiny...), flags...)...)
		if got.status != exitUsage || !strings.Contains(got.stderr, refused) {
			t.Errorf("%v: %d, %s", flags, got.status, got.stderr)
		}
	}
}

// TestBenchInterrupted checks that an interrupt ends the benchmark without a result.
func TestBenchInterrupted(t *testing.T) {
	for _, what := range []string{"train", "sample"} {
		ctx := &countdown{Context: context.Background(), left: 3}
		got := iddpmWith(ctx, nil, append([]string{"bench", what, "--device", "cpu", "--steps", "100000"}, tiny...)...)
		if got.status != exitInterrupted || got.stdout != "" {
			t.Errorf("%s: %d, %s%s", what, got.status, got.stdout, got.stderr)
		}
	}
}

// TestBenchProducts times the matrix products of two microbatches in addition to each step.
func TestBenchProducts(t *testing.T) {
	got := iddpm(t, append([]string{"bench", "train", "--products", "--precision", "bf16", "--microbatch", "3", "--device", "cpu", "--steps", "2", "--warmup", "1"}, tiny...)...)
	var result benchResult
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone {
		t.Fatalf("%d, %s%s", got.status, got.stdout, got.stderr)
	}
	alone := result.Products
	if alone == nil || alone.SecondsPerStep <= 0 || result.FLOPs <= 0 {
		t.Fatal(got.stdout)
	}
	for _, pair := range [][2]float64{
		{alone.Share, alone.SecondsPerStep / result.SecondsPerStep},
		{alone.FLOPsPerSecond, float64(result.FLOPs) / alone.SecondsPerStep},
		{result.FLOPsPerSecond, float64(result.FLOPs) / result.SecondsPerStep},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-9*pair[1] {
			t.Errorf("%g, want %g, in %s", pair[0], pair[1], got.stdout)
		}
	}
}

func TestBenchLoad(t *testing.T) {
	dir := imageFolder(t, 40, 8, 8, false)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--batch-size", "10", "--workers", "2"}, `"workers":2,"image_size":8,"batch_size":10,"images":40,"images_per_second":RATE,"cached":false}`},
		{[]string{"--batch-size", "16", "--workers", "1", "--cache", "auto", "--epochs", "2"},
			`"workers":1,"image_size":8,"batch_size":16,"images":80,"images_per_second":RATE,"cached":true}`},
		{[]string{"--batch-size", "100", "--workers", "2"}, `"workers":2,"image_size":8,"batch_size":100,"images":100,"images_per_second":RATE,"cached":false}`},
	} {
		test.args = append(test.args, "--data-dir", dir, "--image-size", "8")
		got := iddpm(t, append([]string{"bench", "load"}, test.args...)...)
		var result loadResult
		if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.status != exitDone || !(result.ImagesPerSecond > 0 && result.ImagesPerSecond < 5e6) { // more: batches were ready before the clock ran
			t.Fatalf("%v: %d, %s%s", test.args, got.status, got.stdout, got.stderr)
		}
		rate, _ := json.Marshal(result.ImagesPerSecond)
		want := `{"what":"load",` + strings.Replace(test.want, "RATE", string(rate), 1)
		if strings.TrimSpace(got.stdout) != want {
			t.Errorf("%v: %s, want %s", test.args, got.stdout, want)
		}
	}
}
