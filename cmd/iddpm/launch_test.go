package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wangkuiyi/gotorch/pt"
)

// programAlone runs the program in a process of its own, which may start others.
func programAlone(args ...string) outcome { return programIn(".", nil, args...) }

// programIn does so in a folder, with more variables.
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

// everything is a run with all that processes must agree about.
var everything = []string{"--batch-size", "8", "--class-cond", "--num-classes", "10", "--dropout", "0.1", "--learn-sigma", "--rescale-learned-sigmas",
	"--schedule-sampler", "loss-second-moment", "--ema-rate", "0.9,0.99", "--log-interval", "1", "--gradient-noise", "--lr-anneal-steps", "40",
	"--microbatch", "4", "--hold-out", "0.01", "--eval-interval", "4", "--eval-pictures", "10", "--random-flip"}

// state reads all that a checkpoint holds but the configuration, and what it says of
// the machine.
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

// csvOf returns a run's metrics without the columns of time.
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

// Two processes come to the bits that one comes to which takes the batch in two
// microbatches, whether or not they are interrupted; and the metrics say the same.
func TestProcesses(t *testing.T) {
	t.Chdir(t.TempDir())
	run := func(args ...string) {
		t.Helper()
		if got := programAlone(args...); got.status != exitDone {
			t.Fatalf("%v: %d, %s", args, got.status, got.stderr)
		}
	}
	run(append(trainTiny("one", everything...), "--steps", "8")...)
	run(append(trainTiny("two", everything...), "--processes", "2", "--steps", "8")...)
	sameState(t, "one/checkpoints/ckpt-000008.pt", "two/checkpoints/ckpt-000008.pt")
	one, two := csvOf(t, "one"), csvOf(t, "two")
	if len(one) != 11 || fmt.Sprint(one) != fmt.Sprint(two) {
		t.Errorf("the metrics differ:\n%v\n%v", one, two)
	}

	run(append(trainTiny("half", everything...), "--processes", "2", "--steps", "4")...)
	run("resume", "half", "--device", "cpu", "--processes", "2", "--steps", "8")
	sameState(t, "one/checkpoints/ckpt-000008.pt", "half/checkpoints/ckpt-000008.pt")

	// Another number of processes goes on with the same run; sums in another order end
	// in other bits.
	got := programAlone("resume", "half", "--device", "cpu", "--processes", "4", "--steps", "9")
	if got.status != exitDone || strings.Count(got.stderr, `{"because": "processes", "was": "2", "is": "4"}`) != 1 {
		t.Errorf("%d, %s", got.status, got.stderr)
	}
}

// The loss's factor, recomputed blocks and small pictures beside the noisy ones are the
// same in all processes, too.
func TestProcessesInHalfPrecision(t *testing.T) {
	t.Chdir(t.TempDir())
	flags := []string{"--precision", "fp16", "--fp16-scale-growth", "0.5", "--use-checkpoint", "--grad-clip", "0.5", "--super-res", "--large-size", "16", "--small-size", "8",
		"--image-size", "16", "--attention-resolutions", "16", "--microbatch", "2", "--steps", "4"}
	for _, args := range [][]string{trainTiny("one", flags...), append(trainTiny("two", flags...), "--processes", "2")} {
		if got := programAlone(args...); got.status != exitDone {
			t.Fatalf("%v: %d, %s", args, got.status, got.stderr)
		}
	}
	sameState(t, "one/checkpoints/ckpt-000004.pt", "two/checkpoints/ckpt-000004.pt")
}

// Of what concerns all processes one speaks, and the status is that one's.
func TestProcessesThatCannotBegin(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := programAlone(trainTiny("taken", "--steps", "1")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	for _, test := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"batch size", trainTiny("a", "--processes", "3"), exitUsage, "batch-size 4 does not part evenly among 3 processes"},
		{"number", trainTiny("a", "--processes", "-1"), exitUsage, "--processes must not be negative"},
		{"no GPU", trainTiny("a", "--processes", "0"), exitUsage, "one process per GPU"},
		{"options", trainTiny("a", "--processes", "2", "--lr", "-1"), exitUsage, "lr must be a number above 0"},
		{"a flag", []string{"train", "--processes", "2", "--steps", "many"}, exitUsage, "many"},
		{"taken", trainTiny("taken", "--processes", "2"), exitFailed, "taken holds a run already"},
		{"no run", []string{"resume", "nothing", "--device", "cpu", "--processes", "2"}, exitFailed, "no checkpoint or run folder nothing"},
		{"no pictures", trainTiny("a", "--processes", "2", "--data-dir", "nowhere"), exitFailed, "nowhere does not exist"},
		{"one GPU for all", []string{"train", "--processes", "2", "--device", "cuda:1"}, exitUsage, "2 processes cannot all have it"},
	} {
		if test.name == "no GPU" {
			if _, err := os.Stat("/dev/nvidia0"); err == nil {
				continue
			}
		}
		got := programAlone(test.args...)
		if got.status != test.status || strings.Count(got.stderr, test.want) != 1 || strings.Count(got.stderr, "iddpm: ") != 1 {
			t.Errorf("%s: status %d, not %d: %s", test.name, got.status, test.status, got.stderr)
		}
	}
	if left, _ := filepath.Glob("a/*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// Numbers that go bad are met by all processes alike.
func TestProcessesThatDiverge(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	got := programAlone(trainTiny(dir, "--processes", "2", "--steps", "50", "--lr", "1e30", "--max-skipped-steps", "2")...)
	if got.status != exitFailed || strings.Count(got.stderr, "even after going back once") != 1 || strings.Count(got.stderr, "going back to the last checkpoint") != 1 {
		t.Errorf("%d, %s", got.status, got.stderr)
	}
}

// A picture that one process cannot read ends the run in all of them, saved.
func TestProcessesThatMeetABadPicture(t *testing.T) {
	pictures := pictureFolder(t, 8, 8, 8, false)
	bad := filepath.Join(pictures, "odd_00005.png")
	content, err := os.ReadFile(bad)
	if err != nil {
		t.Fatal(err)
	}
	writeTo(t, bad, content[:len(content)-20])
	dir := filepath.Join(t.TempDir(), "run")
	got := programAlone(trainTiny(dir, "--processes", "2", "--steps", "50", "--data-dir", pictures)...)
	if got.status != exitFailed || strings.Count(got.stderr, "odd_00005.png") != 1 || strings.Count(got.stderr, "the run is saved, as") != 1 {
		t.Errorf("%d, %s", got.status, got.stderr)
	}
}

// members returns the processes that p has started, the one of rank 0 first.
func members(t *testing.T, p *process) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Process.Pid))
	if err != nil || len(lists) == 0 {
		t.Skip("this kernel does not list a process's children")
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // of a thread that has ended there is none
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// However one of them is interrupted, all stop at one step, saved; and one that is
// killed ends the others.
func TestProcessesStop(t *testing.T) {
	for _, test := range []struct {
		name   string
		stop   func(t *testing.T, p *process)
		status int
		want   string
	}{
		{"the launcher is interrupted", func(t *testing.T, p *process) { p.Process.Signal(syscall.SIGINT) }, exitSaved, "the run is saved"},
		{"one process is interrupted", func(t *testing.T, p *process) { syscall.Kill(members(t, p)[1], syscall.SIGTERM) }, exitSaved, "the run is saved"},
		{"all are interrupted at once", func(t *testing.T, p *process) {
			for _, pid := range append(members(t, p), p.Process.Pid) {
				syscall.Kill(pid, syscall.SIGTERM)
			}
		}, exitSaved, "the run is saved"},
		{"one process is killed", func(t *testing.T, p *process) { syscall.Kill(members(t, p)[1], syscall.SIGKILL) }, exitFailed, "process 1 of the run was ended from outside: signal: killed"},
		{"the first process is killed", func(t *testing.T, p *process) { syscall.Kill(members(t, p)[0], syscall.SIGKILL) }, exitFailed, "process 0 of the run was ended from outside"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			p := start(t, trainTiny(dir, "--processes", "2", "--steps", "1000000", "--save-interval", "10", "--keep", "2")...)
			p.await(t, "INFO  saved")
			stopped := p.savedSoFar()
			test.stop(t, p)
			if status := p.end(); test.status == exitSaved && p.saved == stopped {
				t.Errorf("nothing was saved after step %d: %s", stopped, p.stderrSoFar())
			} else if status != test.status || !strings.Contains(p.stderrSoFar(), test.want) {
				t.Errorf("status %d: %s", status, p.stderrSoFar())
			}
			got := programAlone("resume", dir, "--device", "cpu", "--processes", "2", "--steps", strconv.Itoa(p.saved+20))
			if got.status != exitDone {
				t.Errorf("it does not go on: %s", got.stderr)
			}
		})
	}
}

// TestKillProcesses kills one of the processes, or their launcher, by SIGKILL at random
// moments. Nothing that was reported as saved is lost, the run goes on, and in the end to
// the bits of a run that nobody killed.
func TestKillProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	flags := []string{"--processes", "2", "--save-interval", "1", "--keep", "2", "--seed", "5"}
	args := trainTiny(dir, append(flags, "--steps", "100000")...)
	random := rand.New(rand.NewPCG(3, 4))
	n, newest := max(2, kills(t)/3), 0
	for i := range n {
		p := start(t, args...)
		p.await(t, "INFO  saved")
		time.Sleep(time.Duration(random.IntN(250)) * time.Millisecond)
		victims := append(members(t, p), p.Process.Pid)
		syscall.Kill(victims[(i+1)%len(victims)], syscall.SIGKILL)
		if status := p.end(); status != exitFailed && status != -1 {
			t.Fatalf("status %d: %s", status, p.stderrSoFar())
		}
		newest = checkRun(t, dir, max(newest, p.saved))
		args = []string{"resume", dir, "--device", "cpu", "--processes", "2"}
	}
	last := strconv.Itoa(newest + 2)
	whole := filepath.Join(t.TempDir(), "whole")
	for _, args := range [][]string{append(args, "--steps", last), trainTiny(whole, append(flags, "--steps", last)...)} {
		if got := programAlone(args...); got.status != exitDone {
			t.Fatalf("%v: %d, %s", args, got.status, got.stderr)
		}
	}
	t.Logf("%d kills; %d steps were saved", n, newest)
	sameWeights(t, whole, dir)
}

// Where the launcher itself is killed its processes do not stay.
func TestProcessesOfAKilledLauncher(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	p := start(t, trainTiny(dir, "--processes", "2", "--steps", "1000000")...)
	p.waitForTraining()
	pids := members(t, p)
	if len(pids) != 2 {
		t.Fatalf("%d processes", len(pids))
	}
	p.Process.Kill()
	select {
	case <-p.ended: // all of them had its standard error
	case <-time.After(time.Minute):
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		t.Error("processes went on without their launcher")
	}
	p.end()
	if len(checkpoints(dir)) == 0 {
		t.Errorf("the run is not saved: %s", p.stderrSoFar())
	}
}

// Several processes draw what one draws, and find the same bits/dim.
func TestProcessesShareASample(t *testing.T) {
	t.Chdir(t.TempDir())
	run := func(args ...string) {
		t.Helper()
		if got := programAlone(args...); got.status != exitDone {
			t.Fatalf("%v: %d, %s", args, got.status, got.stderr)
		}
	}
	run(trainTiny("small", "--class-cond", "--num-classes", "10", "--learn-sigma", "--steps", "2", "--hold-out", "0.006")...)
	run(trainTiny("large", "--class-cond", "--num-classes", "10", "--super-res", "--large-size", "16", "--small-size", "8", "--image-size", "16", "--attention-resolutions", "16", "--steps", "2")...)
	for name, flags := range map[string][]string{
		"ancestral": {"--num-samples", "10", "--batch-size", "2", "--first-sample", "3", "--denoised-progress"},
		"ddim":      {"--num-samples", "5", "--batch-size", "4", "--use-ddim", "--class", "1,2"},
		"cascade":   {"--num-samples", "3", "--batch-size", "1", "--upsample", "large"},
	} {
		flags = append([]string{"sample", "small", "--device", "cpu", "--precision", "fp32", "--threads", "1"}, flags...)
		run(append(flags, "-o", name+"-1")...)
		run(append(flags, "-o", name+"-3", "--processes", "3")...)
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
	run(append(nll, "-o", "nll-1")...)
	run(append(nll, "-o", "nll-2", "--processes", "2")...)
	for _, file := range []string{"nll.npz", "vb_terms.npz"} {
		if !bytes.Equal(readFile(t, "nll-1/"+file), readFile(t, "nll-2/"+file)) {
			t.Errorf("%s differs", file)
		}
	}
}

// A file that only one process may read or write is read or written by one, and of an
// error one speaks.
func TestProcessesThatCannotSample(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := programAlone(trainTiny("run", "--steps", "1")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	writeTo(t, "file", nil)
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"sample", "nothing", "--processes", "2"}, exitFailed, "no checkpoint or run folder nothing"},
		{[]string{"sample", "run", "--processes", "2", "-o", "file"}, exitFailed, "cannot make the folder of the results"},
		{[]string{"sample", "run", "--processes", "2", "--invert", "file"}, exitUsage, "--invert is the work of one process"},
		{[]string{"sample", "run", "--processes", "2", "--class", "cat"}, exitUsage, "--class"},
		{[]string{"nll", "run", "--processes", "2", "--data-dir", "nowhere"}, exitFailed, "nowhere does not exist"},
		{[]string{"nll", "run", "--processes", "2", "-o", "file"}, exitFailed, "cannot make the folder of the results"},
	} {
		got := programAlone(append(test.args, "--device", "cpu")...)
		if got.status != test.status || strings.Count(got.stderr, test.want) != 1 || strings.Count(got.stderr, "iddpm: ") != 1 {
			t.Errorf("%v: status %d, not %d: %s", test.args, got.status, test.status, got.stderr)
		}
	}
}

// An interrupted draw keeps what all processes have drawn until then.
func TestProcessesStopDrawing(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := programAlone(trainTiny("run", "--steps", "1")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	p := start(t, "sample", "run", "--device", "cpu", "--num-samples", "1000000", "--batch-size", "4", "--processes", "2", "-o", "out")
	p.await(t, "INFO  drawing")
	time.Sleep(2 * time.Second) // for the first batches: a thousandth of all takes minutes
	syscall.Kill(members(t, p)[1], syscall.SIGTERM)
	if status := p.end(); status != exitSaved || strings.Count(p.stderrSoFar(), "of 1000000; --first-sample") != 1 {
		t.Errorf("%d, %s", status, p.stderrSoFar())
	}
	if files, _ := filepath.Glob("out/samples_*.npz"); len(files) != 1 {
		t.Errorf("%v", files)
	}
}

// A draw that loses a process keeps what all have drawn until then.
func TestProcessesThatLoseOneWhileDrawing(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := programAlone(trainTiny("run", "--steps", "1")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	p := start(t, "sample", "run", "--device", "cpu", "--num-samples", "1000000", "--batch-size", "4", "--processes", "2", "-o", "out")
	p.await(t, "INFO  drawing")
	time.Sleep(2 * time.Second)
	syscall.Kill(members(t, p)[1], syscall.SIGKILL)
	if status := p.end(); status != exitFailed || !strings.Contains(p.stderrSoFar(), "of 1000000; --first-sample") {
		t.Errorf("%d, %s", status, p.stderrSoFar())
	}
	if files, _ := filepath.Glob("out/samples_*.npz"); len(files) != 1 {
		t.Errorf("%v", files)
	}
}

// Processes whose run folders differ, as they may on two machines, do not mix them.
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
		if got[0].status != exitFailed || got[1].status != exitFailed || !strings.Contains(got[1].stderr, "process 1 has not the checkpoint run/checkpoints/ckpt-000002.pt of process 0") {
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

// However a run begins, processes begin it as one does: anew, behind a URL, from the
// reference's files, by --auto-resume, and as the only process of a torchrun.
func TestProcessesBegin(t *testing.T) {
	t.Chdir(t.TempDir())
	flags := []string{"--batch-size", "4", "--microbatch", "2", "--seed", "3"}
	run := func(env []string, args ...string) {
		t.Helper()
		if got := programIn(".", env, args...); got.status != exitDone {
			t.Fatalf("%v: %d, %s", args, got.status, got.stderr)
		}
	}
	run(nil, append(trainTiny("one", flags...), "--steps", "4")...)
	run(nil, "export", "one", "--reference-layout", "theirs")
	run(nil, "resume", "one", "--device", "cpu", "--steps", "6")

	folder, err := filepath.Abs("shared")
	if err != nil {
		t.Fatal(err)
	}
	url := []string{"--remote-cache", "cache", "--processes", "2"}
	run(nil, slices.Concat(trainTiny("file://"+folder, flags...), url, []string{"--steps", "2"})...)
	run(nil, slices.Concat(trainTiny("file://"+folder, flags...), url, []string{"--steps", "6", "--auto-resume"})...)
	sameState(t, "one/checkpoints/ckpt-000006.pt", "shared/checkpoints/ckpt-000006.pt")

	adopted := slices.Concat([]string{"resume", "theirs/model000004.pt", "--device", "cpu", "--run-dir"}, []string{"adopted"}, tiny, flags)
	run([]string{"TORCHELASTIC_USE_AGENT_STORE=True", "WORLD_SIZE=1", "RANK=0"}, append(adopted, "--processes", "2", "--steps", "6")...)
	sameWeights(t, "one", "adopted")
}
