package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
)

// programAlone runs the program in a new process, which may start others.
func programAlone(args ...string) outcome { return programIn(".", nil, args...) }

// programIn runs programAlone in a folder, with additional environment variables.
func programIn(dir string, env []string, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	c := exec.Command(os.Args[0], args...)
	c.Dir = dir
	c.Env = append(append(os.Environ(), "TEST_AS_PROGRAM=1", "OMP_NUM_THREADS=1"), env...)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); c.ProcessState == nil {
		return outcome{-1, "", err.Error()}
	}
	return outcome{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// succeed runs the program with additional environment variables, and fails the test on an
// error.
func succeed(t *testing.T, env []string, args ...string) {
	t.Helper()
	if got := programIn(".", env, args...); got.status != exitDone {
		t.Fatalf("%v: %d, %s", args, got.status, got.stderr)
	}
}

// TestInvalidLauncherVariables checks that contradictory variables of a launcher are a usage
// error.
func TestInvalidLauncherVariables(t *testing.T) {
	got := programIn(t.TempDir(), []string{"WORLD_SIZE=2"}, "train", "--device", "cpu")
	if got.status != exitUsage || !strings.Contains(got.stderr, "RANK=: a process that torchrun has started among others needs a number from 0 to 1") {
		t.Errorf("%d, %s", got.status, got.stderr)
	}
}

// TestStaleLauncherVariables checks that a process that waits because of a launcher's stale
// variables logs it.
func TestStaleLauncherVariables(t *testing.T) {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	in := func(port int, args ...string) outcome {
		env := []string{"RANK=0", "WORLD_SIZE=2", fmt.Sprintf("MASTER_PORT=%d", port)}
		return programIn(t.TempDir(), env, append([]string{"train", "--device", "cpu"}, args...)...)
	}
	if got := in(port); got.status != exitFailed || !strings.Contains(got.stderr, fmt.Sprintf("port %d (MASTER_PORT)", port)) {
		t.Errorf("port in use: %d, %s", got.status, got.stderr)
	}
	listener.Close()
	if got := in(port, "--connect-timeout", "0"); got.status != exitUsage {
		t.Errorf("no time: %d, %s", got.status, got.stderr)
	}
	got := in(port, "--connect-timeout", "6")
	waiting := fmt.Sprintf("waiting for rank 1 of 2 processes (RANK=0, WORLD_SIZE=2) at localhost:%d", port)
	if got.status != exitFailed || strings.Count(got.stderr, waiting) != 1 || !strings.Contains(got.stderr, "the 2 processes do not come together at localhost") {
		t.Errorf("%d, %s", got.status, got.stderr)
	}
}

// everything is a run with all settings that processes must agree on.
var everything = []string{"--batch-size", "8", "--class-cond", "--num-classes", "10", "--class-dropout", "0.3", "--dropout", "0.1", "--learn-sigma", "--rescale-learned-sigmas",
	"--schedule-sampler", "loss-second-moment", "--ema-rate", "0.9,0.99", "--log-interval", "1", "--gradient-noise", "--lr-anneal-steps", "40",
	"--hold-out", "0.01", "--eval-interval", "4", "--eval-pictures", "10", "--random-flip", "--power-ema", "0.05,0.2", "--predict", "v", "--loss-weight", "min-snr:5"}

// state reads the content of a checkpoint except the configuration and the environment.
func state(t *testing.T, path string) map[string][]byte {
	t.Helper()
	value, err := pt.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case *pt.Dict:
			for key, value := range v.All() {
				walk(fmt.Sprint(name, "/", key), value)
			}
		case []any:
			for i, value := range v {
				walk(fmt.Sprint(name, "/", i), value)
			}
		case *pt.Tensor:
			all[name] = append(fmt.Append(nil, v.Shape), v.Data...)
		default:
			all[name] = fmt.Append(nil, v)
		}
	}
	walk("", value)
	for _, name := range []string{"/config", "/environment/processes"} {
		delete(all, name)
	}
	if len(all) < 100 {
		t.Fatalf("%s: only %d values", path, len(all))
	}
	return all
}

func sameState(t *testing.T, a, b string) {
	t.Helper()
	x, y := state(t, a), state(t, b)
	for name, value := range x {
		if !bytes.Equal(value, y[name]) {
			t.Fatalf("%s of %s is not that of %s", name, a, b)
		}
	}
	if len(x) != len(y) {
		t.Errorf("%d and %d values", len(x), len(y))
	}
}

// csvOf returns a run's metrics without the time columns.
func csvOf(t *testing.T, dir string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "progress.csv"))
	if err != nil {
		t.Fatal(err)
	}
	var timed []int
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		row := strings.Split(line, ",")
		for k, name := range row {
			if i == 0 && slices.Contains([]string{"images_per_second", "data_wait"}, name) {
				timed = append(timed, k)
			}
		}
		for _, k := range timed {
			row[k] = ""
		}
		rows = append(rows, row)
	}
	return rows
}

// TestProcesses checks that two processes, interrupted or not, give the same bits and
// metrics as one process with two microbatches.
func TestProcesses(t *testing.T) {
	t.Chdir(t.TempDir())
	succeed(t, nil, append(trainTiny("one", everything...), "--microbatch", "4", "--steps", "8")...)
	succeed(t, nil, append(trainTiny("two", everything...), "--processes", "2", "--steps", "8")...)
	sameState(t, "one/checkpoints/ckpt-000008.pt", "two/checkpoints/ckpt-000008.pt")
	one, two := csvOf(t, "one"), csvOf(t, "two")
	if len(one) != 11 || fmt.Sprint(one) != fmt.Sprint(two) {
		t.Errorf("the metrics differ:\n%v\n%v", one, two)
	}

	succeed(t, nil, append(trainTiny("half", everything...), "--processes", "2", "--steps", "4")...)
	succeed(t, nil, "resume", "half", "--device", "cpu", "--processes", "2", "--steps", "8")
	sameState(t, "one/checkpoints/ckpt-000008.pt", "half/checkpoints/ckpt-000008.pt")

	// Another number of processes can resume the run, but sums in another order give
	// other bits.
	got := programAlone("resume", "half", "--device", "cpu", "--processes", "4", "--steps", "9")
	if got.status != exitDone || strings.Count(got.stderr, `{"reason": "processes", "was": "2", "is": "4"}`) != 1 {
		t.Errorf("%d, %s", got.status, got.stderr)
	}
}

// TestOverlappedAllReduceMatches checks that an all-reduce in several buckets, overlapped
// with the backward pass, gives the same bits as one that waits for all 27 MB of
// gradients, as with --gradient-noise; with one microbatch and with two.
func TestOverlappedAllReduceMatches(t *testing.T) {
	t.Chdir(t.TempDir())
	network := []string{"--image-size", "8", "--num-channels", "128", "--channel-mult", "1,2", "--num-res-blocks", "2", "--batch-size", "4", "--steps", "2"}
	for name, flags := range map[string][]string{
		"fp32":       {"--precision", "fp32"},
		"bf16":       {"--precision", "bf16", "--dropout", "0.1"},
		"recomputed": {"--precision", "bf16", "--use-checkpoint"},
	} {
		flags = slices.Concat(network, flags)
		two := append(flags, "--processes", "2")
		succeed(t, nil, append(trainTiny(name+"-one", flags...), "--microbatch", "2")...)
		succeed(t, nil, trainTiny(name+"-two", two...)...)
		sameState(t, name+"-one/checkpoints/ckpt-000002.pt", name+"-two/checkpoints/ckpt-000002.pt")
		if name != "bf16" {
			continue
		}
		succeed(t, nil, append(trainTiny(name+"-halves", two...), "--microbatch", "1")...)
		succeed(t, nil, append(trainTiny(name+"-late", two...), "--microbatch", "1", "--gradient-noise")...)
		sameState(t, name+"-halves/checkpoints/ckpt-000002.pt", name+"-late/checkpoints/ckpt-000002.pt")
	}
	info, err := os.Stat("fp32-two/checkpoints/ckpt-000002.pt") // weights, two moments and EMA weights
	if err != nil || info.Size() < 4*(26<<20) {
		t.Errorf("%v, %v: the network is too small for several buckets", info, err)
	}
}

// TestProcessesInHalfPrecision checks loss scaling, gradient checkpointing and
// low-resolution conditioning in two processes.
func TestProcessesInHalfPrecision(t *testing.T) {
	t.Chdir(t.TempDir())
	flags := []string{"--precision", "fp16", "--fp16-scale-growth", "0.5", "--use-checkpoint", "--grad-clip", "0.5", "--super-res", "--large-size", "16", "--small-size", "8",
		"--image-size", "16", "--attention-resolutions", "16", "--microbatch", "2", "--steps", "4"}
	succeed(t, nil, trainTiny("one", flags...)...)
	succeed(t, nil, append(trainTiny("two", flags...), "--processes", "2")...)
	sameState(t, "one/checkpoints/ckpt-000004.pt", "two/checkpoints/ckpt-000004.pt")
}

// TestDistributedSample checks that several processes give the same samples and bits/dim as
// one.
func TestDistributedSample(t *testing.T) {
	t.Chdir(t.TempDir())
	succeed(t, nil, trainTiny("small", "--class-cond", "--num-classes", "10", "--learn-sigma", "--steps", "2", "--hold-out", "0.006")...)
	succeed(t, nil, trainTiny("large", "--class-cond", "--num-classes", "10", "--super-res", "--large-size", "16", "--small-size", "8", "--image-size", "16", "--attention-resolutions", "16", "--steps", "2")...)
	for name, flags := range map[string][]string{
		"ancestral": {"--num-samples", "10", "--batch-size", "2", "--first-sample", "3", "--denoised-progress"},
		"ddim":      {"--num-samples", "5", "--batch-size", "4", "--use-ddim", "--class", "1,2"},
		"cascade":   {"--num-samples", "3", "--batch-size", "1", "--upsample", "large"},
	} {
		flags = append([]string{"sample", "small", "--device", "cpu", "--precision", "fp32", "--threads", "1"}, flags...)
		succeed(t, nil, append(flags, "-o", name+"-1")...)
		succeed(t, nil, append(flags, "-o", name+"-3", "--processes", "3")...)
		files, _ := filepath.Glob(name + "-1/*")
		if len(files) < 2 {
			t.Errorf("%s: %v", name, files)
		}
		for _, file := range files {
			one, two := readFile(t, file), readFile(t, filepath.Join(name+"-3", filepath.Base(file)))
			if !bytes.Equal(one, two) {
				t.Errorf("%s differs", file)
			}
		}
	}

	nll := []string{"nll", "small", "--device", "cpu", "--precision", "fp32", "--threads", "1", "--batch-size", "2"}
	succeed(t, nil, append(nll, "-o", "nll-1")...)
	succeed(t, nil, append(nll, "-o", "nll-2", "--processes", "2")...)
	for _, file := range []string{"nll.npz", "vb_terms.npz"} {
		if !bytes.Equal(readFile(t, "nll-1/"+file), readFile(t, "nll-2/"+file)) {
			t.Errorf("%s differs", file)
		}
	}
}

// TestProcessesWithDifferentCheckpoints checks that processes whose run folders differ, as
// on two machines, fail.
func TestProcessesWithDifferentCheckpoints(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	for i, dir := range dirs {
		if got := programIn(dir, nil, trainTiny("run", "--steps", "2", "--seed", strconv.Itoa(i))...); got.status != exitDone {
			t.Fatal(got.stderr)
		}
	}
	for _, command := range []string{"sample", "nll"} {
		var group sync.WaitGroup
		var got [2]outcome
		port := freePort(t)
		for rank, dir := range dirs {
			group.Go(func() {
				env := []string{"WORLD_SIZE=2", "RANK=" + strconv.Itoa(rank), "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + port}
				got[rank] = programIn(dir, env, command, "run", "--device", "cpu", "--num-samples", "4")
			})
		}
		group.Wait()
		if got[0].status != exitFailed || got[1].status != exitFailed || !strings.Contains(got[1].stderr, "process 1: the checkpoint run/checkpoints/ckpt-000002.pt is not that of process 0") {
			t.Errorf("%s: %d, %s\n%d, %s", command, got[0].status, got[0].stderr, got[1].status, got[1].stderr)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// TestProcessesStart checks that two processes start a run as one does: a new one, at a
// URL, from improved-diffusion's files, by --auto-resume, and as the only process of
// torchrun.
func TestProcessesStart(t *testing.T) {
	t.Chdir(t.TempDir())
	flags := []string{"--batch-size", "4", "--microbatch", "2", "--seed", "3"}
	succeed(t, nil, append(trainTiny("one", flags...), "--steps", "4")...)
	succeed(t, nil, "export", "one", "--reference-layout", "theirs")
	succeed(t, nil, "resume", "one", "--device", "cpu", "--steps", "6")

	folder, err := filepath.Abs("shared")
	if err != nil {
		t.Fatal(err)
	}
	url := []string{"--remote-cache", "cache", "--processes", "2"}
	succeed(t, nil, slices.Concat(trainTiny("file://"+folder, flags...), url, []string{"--steps", "2"})...)
	succeed(t, nil, slices.Concat(trainTiny("file://"+folder, flags...), url, []string{"--steps", "6", "--auto-resume"})...)
	sameState(t, "one/checkpoints/ckpt-000006.pt", "shared/checkpoints/ckpt-000006.pt")

	adopted := slices.Concat([]string{"resume", "theirs/model000004.pt", "--device", "cpu", "--run-dir"}, []string{"adopted"}, tiny, flags)
	succeed(t, []string{"TORCHELASTIC_USE_AGENT_STORE=True", "WORLD_SIZE=1", "RANK=0"}, append(adopted, "--processes", "2", "--steps", "6")...)
	sameWeights(t, "one", "adopted")
}
