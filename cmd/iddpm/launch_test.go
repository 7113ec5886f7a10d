package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProcessesThatCannotStart checks that one process reports an error of all, and that its
// status is the launcher's.
func TestProcessesThatCannotStart(t *testing.T) {
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
		{"batch size", trainTiny("a", "--processes", "3"), exitUsage, "batch-size 4 is not divisible by the 3 processes"},
		{"one part", trainTiny("a", "--gradient-noise"), exitUsage, "gradient-noise compares microbatches"},
		{"number", trainTiny("a", "--processes", "-1"), exitUsage, "--processes must not be negative"},
		{"no GPU", trainTiny("a", "--processes", "0"), exitUsage, "one process per GPU"},
		{"options", trainTiny("a", "--processes", "2", "--lr", "-1"), exitUsage, "lr must be a number above 0"},
		{"a flag", []string{"train", "--processes", "2", "--steps", "many"}, exitUsage, "many"},
		{"taken", trainTiny("taken", "--processes", "2"), exitFailed, "taken already holds a run"},
		{"no run", []string{"resume", "nothing", "--device", "cpu", "--processes", "2"}, exitFailed, "no checkpoint or run folder nothing"},
		{"no images", trainTiny("a", "--processes", "2", "--data-dir", "nowhere"), exitFailed, "nowhere does not exist"},
		{"one GPU for all", []string{"train", "--processes", "2", "--device", "cuda:1"}, exitUsage, "2 processes cannot share one GPU"},
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

// TestProcessesThatDiverge checks that all processes handle non-finite values alike.
func TestProcessesThatDiverge(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	got := programAlone(trainTiny(dir, "--processes", "2", "--steps", "50", "--lr", "1e30", "--max-skipped-steps", "2")...)
	if got.status != exitFailed || strings.Count(got.stderr, "even after rolling back once") != 1 || strings.Count(got.stderr, "rolling back to the last checkpoint") != 1 {
		t.Errorf("%d, %s", got.status, got.stderr)
	}
}

// TestProcessesBadImage checks that an image that one process cannot read ends the run in
// all of them, saved.
func TestProcessesBadImage(t *testing.T) {
	images := imageFolder(t, 8, 8, 8, false)
	bad := filepath.Join(images, "odd_00005.png")
	content, err := os.ReadFile(bad)
	if err != nil {
		t.Fatal(err)
	}
	writeTo(t, bad, content[:len(content)-30])
	dir := filepath.Join(t.TempDir(), "run")
	got := programAlone(trainTiny(dir, "--processes", "2", "--steps", "50", "--data-dir", images)...)
	if got.status != exitFailed || strings.Count(got.stderr, "odd_00005.png") != 1 || strings.Count(got.stderr, "the run is saved as") != 1 {
		t.Errorf("%d, %s", got.status, got.stderr)
	}
}

// members returns the processes that p has started, rank 0 first.
func members(t *testing.T, p *process) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Process.Pid))
	if err != nil || len(lists) == 0 {
		t.Skip("this kernel does not list a process's children")
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // missing if the thread has ended
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

// TestProcessesStop checks that an interrupt of any process stops all at one step, saved, and
// that a killed process ends the others.
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
		{"one process is killed", func(t *testing.T, p *process) { syscall.Kill(members(t, p)[1], syscall.SIGKILL) }, exitFailed, "the run is saved as"},
		{"the first process is killed", func(t *testing.T, p *process) { syscall.Kill(members(t, p)[0], syscall.SIGKILL) }, exitFailed, "process 0 of the run was killed"},
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

// TestProcessesAbandonAStep interrupts processes in a step that outlasts what docker stop waits: the state before it
// is saved.
func TestProcessesAbandonAStep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	// 128 channels: on a fast machine a step of 32 is over before the signal.
	p := start(t, trainTiny(dir, "--processes", "2", "--steps", "2", "--batch-size", "12000", "--microbatch", "1", "--num-channels", "128")...)
	p.waitForTraining()
	loading := 4 * time.Second // of the batch, before the step begins
	if raceDetector {
		loading = 20 * time.Second
	}
	time.Sleep(loading)
	began := time.Now()
	p.signal(t, syscall.SIGTERM)
	if status := p.end(); status != exitSaved || !strings.Contains(p.stderrSoFar(), "abandoning the step in progress") {
		t.Errorf("status %d: %s", status, p.stderrSoFar())
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v, and docker stop kills after 10s", took)
	}
	if got := checkRun(t, dir, 0); got != 0 || p.saved != 0 {
		t.Errorf("step %d is the newest, and %d was saved", got, p.saved)
	}
}

// TestKillProcesses sends SIGKILL to one of the processes, or to their launcher, at random
// moments. Nothing that was reported as saved is lost, and the resumed run ends with the
// bits of an uninterrupted one.
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

// TestProcessesOfAKilledLauncher checks that the processes end with their launcher.
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
	case <-p.ended: // all of them have closed its standard error
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

// TestProcessesThatCannotSample checks that one process reads and writes files, and that one
// process reports an error.
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
		{[]string{"sample", "run", "--processes", "2", "-o", "file"}, exitFailed, "cannot create the output folder"},
		{[]string{"sample", "run", "--processes", "2", "--invert", "file"}, exitUsage, "--invert runs in one process"},
		{[]string{"sample", "run", "--processes", "2", "--class", "cat"}, exitUsage, "--class: this network is not class-conditional"},
		{[]string{"nll", "run", "--processes", "2", "--data-dir", "nowhere"}, exitFailed, "nowhere does not exist"},
		{[]string{"nll", "run", "--processes", "2", "-o", "file"}, exitFailed, "cannot create the output folder"},
	} {
		got := programAlone(append(test.args, "--device", "cpu")...)
		if got.status != test.status || strings.Count(got.stderr, test.want) != 1 || strings.Count(got.stderr, "iddpm: ") != 1 {
			t.Errorf("%v: status %d, not %d: %s", test.args, got.status, test.status, got.stderr)
		}
	}
}

// TestProcessesInterruptedSampling checks that sampling that is interrupted, or loses a
// process, keeps the finished batches.
func TestProcessesInterruptedSampling(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := programAlone(trainTiny("run", "--steps", "1")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	for signal, want := range map[syscall.Signal]int{syscall.SIGTERM: exitSaved, syscall.SIGKILL: exitFailed} {
		out := signal.String()
		p := start(t, "sample", "run", "--device", "cpu", "--num-samples", "1000000", "--batch-size", "4", "--processes", "2", "-o", out)
		p.await(t, "INFO  generating samples")
		time.Sleep(2 * time.Second) // for the first batches: a thousandth of all takes minutes
		syscall.Kill(members(t, p)[1], signal)
		if status := p.end(); status != want || strings.Count(p.stderrSoFar(), "of 1000000; --first-sample") != 1 {
			t.Errorf("%v: %d, %s", signal, status, p.stderrSoFar())
		}
		if files, _ := filepath.Glob(out + "/samples_*.npz"); len(files) != 1 {
			t.Errorf("%v: %v", signal, files)
		}
	}
}
