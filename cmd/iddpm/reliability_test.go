package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/checkpoint"
)

// await waits until the process has logged a text, and fails if it exits first.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(p.stderrSoFar(), text) {
		select {
		case <-p.ended:
			t.Fatalf("it ended without saying %q:\n%s", text, p.stderrSoFar())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// limitFiles limits the size of files that a process may write, to simulate a full disk.
func (p *process) limitFiles(t *testing.T, bytes uint64) {
	t.Helper()
	limit := syscall.Rlimit{Cur: bytes, Max: math.MaxUint64}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
}

func checkpoints(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "*.pt*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, "checkpoints", ".*"))
	return append(files, hidden...)
}

// TestFullDisk checks that training continues while the disk is full, saves once it is not,
// and reports at the end if it still is.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	p := start(t, trainTiny(dir, "--steps", "1000000", "--save-interval", "20")...)
	p.await(t, "saved")
	p.limitFiles(t, 100_000)
	p.await(t, "cannot save; training continues")
	if got := checkRun(t, dir, p.saved); got != p.saved {
		t.Errorf("the newest checkpoint is of step %d, saved was %d", got, p.saved)
	}
	count := strings.Count(p.stderrSoFar(), "INFO  saved")
	p.limitFiles(t, math.MaxUint64)
	for strings.Count(p.stderrSoFar(), "INFO  saved") == count {
		time.Sleep(5 * time.Millisecond)
	}
	p.limitFiles(t, 100_000)
	p.signal(t, syscall.SIGTERM)
	status := p.end()
	said := p.stderrSoFar()
	if status != exitFailed || !strings.Contains(said, "cannot save the run") || !strings.Contains(said, "the last good checkpoint is "+dir) {
		t.Errorf("status %d, %s", status, said)
	}
	checkRun(t, dir, p.saved)
	for _, file := range checkpoints(dir) {
		if strings.HasPrefix(filepath.Base(file), ".") {
			t.Errorf("left %s", file)
		}
	}
}

// TestSignal sends the signals of a stopped container, of a keyboard, and of a closed
// terminal, which may hang up twice: each saves.
func TestSignal(t *testing.T) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP) // under nohup the runs would inherit that it is ignored
	defer signal.Stop(caught)
	for _, signals := range [][]syscall.Signal{{syscall.SIGTERM}, {syscall.SIGINT}, {syscall.SIGHUP, syscall.SIGHUP}, {syscall.SIGTERM, syscall.SIGHUP}} {
		dir := filepath.Join(t.TempDir(), "run")
		p := start(t, trainTiny(dir, "--batch-size", "64")...)
		p.await(t, "INFO  step")
		p.signal(t, signals[0])
		p.await(t, "iddpm: stopping; signal again")
		for _, s := range signals[1:] {
			_ = p.Process.Signal(s) // it may have exited
		}
		if status := p.end(); status != exitSaved || !strings.HasSuffix(p.stderrSoFar(), "iddpm: interrupted; the run is saved\n") {
			t.Errorf("%v: status %d: %s", signals, status, p.stderrSoFar())
		}
		if saved := checkpoints(dir); len(saved) != 1 {
			t.Errorf("%v: saved %v", signals, saved)
		}
	}
}

// TestNohup checks that a run under nohup ignores SIGHUP.
func TestNohup(t *testing.T) {
	signal.Ignore(syscall.SIGHUP) // inherited by new processes
	defer signal.Reset(syscall.SIGHUP)
	p := start(t, trainTiny(filepath.Join(t.TempDir(), "run"), "--log-json")...)
	p.await(t, `"msg":"step"`)
	p.signal(t, syscall.SIGHUP)
	p.signal(t, syscall.SIGTERM)
	if status := p.end(); status != exitSaved || strings.Count(p.stderrSoFar(), "stopping") != 1 {
		t.Errorf("status %d: %s", status, p.stderrSoFar())
	}
	for line := range strings.Lines(p.stderrSoFar()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("--log-json logs %s", line)
		}
	}
}

// TestClosedPipe checks that training completes with closed output pipes, as in
// `iddpm train 2>&1 | head -1`.
func TestClosedPipe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0], trainTiny(dir, "--steps", "3", "--save-interval", "1")...)
	command.Env = append(os.Environ(), "TEST_AS_PROGRAM=1")
	command.Stdout, command.Stderr = writer, writer
	if err := errors.Join(command.Start(), reader.Close(), writer.Close()); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
	if saved := checkpoints(dir); len(saved) != 3 {
		t.Errorf("saved %v", saved)
	}
}

// TestSecondSignal checks that a second signal, within a long step, ends the program
// immediately.
func TestSecondSignal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	p := start(t, trainTiny(dir, "--batch-size", "2048", "--log-interval", "1", "--save-interval", "1000", "--steps", "1000")...)
	p.await(t, "INFO  step") // and the next one has begun
	p.signal(t, syscall.SIGINT)
	p.await(t, "signal again to exit immediately")
	p.signal(t, syscall.SIGTERM)
	if status := p.end(); status != exitInterrupted {
		t.Errorf("status %d: %s", status, p.stderrSoFar())
	}
	if got := checkpoints(dir); len(got) > 0 {
		t.Errorf("it still saved %v", got)
	}
}

// TestScheduler repeats one command line, as a scheduler with preemption does: a run that
// was killed before its first checkpoint, a saved one and a finished one all resume.
func TestScheduler(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	args := trainTiny(dir, "--steps", "1000000", "--auto-resume")
	p := start(t, args...)
	p.waitForTraining()
	p.signal(t, syscall.SIGKILL)
	p.end()
	if len(checkpoints(dir)) > 0 || !checkpoint.HoldsRun(dir) {
		t.Fatalf("the folder holds %v", checkpoints(dir))
	}
	step := 0
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p = start(t, args...)
		p.await(t, "INFO  step")
		p.signal(t, s)
		if status := p.end(); status != exitSaved {
			t.Fatalf("%v: status %d: %s", s, status, p.stderrSoFar())
		}
		newest := checkRun(t, dir, step+1)
		step = newest
	}
	if got := iddpm(t, trainTiny(dir, "--steps", fmt.Sprint(step), "--auto-resume")...); got.status != exitDone {
		t.Errorf("done: %d, %s", got.status, got.stderr)
	}
}

// TestTwoProcesses checks that a run folder rejects a second process.
func TestTwoProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	p := start(t, trainTiny(dir, "--steps", "1000000")...)
	p.waitForTraining()
	want := fmt.Sprintf("is in use by process %d", p.Process.Pid)
	if got := iddpm(t, "resume", dir, "--device", "cpu"); got.status != exitFailed || !strings.Contains(got.lastLine(), want) {
		t.Errorf("resume: %d, %s", got.status, got.stderr)
	}
	p.signal(t, syscall.SIGTERM)
	if status := p.end(); status != exitSaved {
		t.Errorf("status %d: %s", status, p.stderrSoFar())
	}
}

// TestSampleRefusesNaN samples with weights that contain NaN.
func TestSampleRefusesNaN(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "1")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	c, err := checkpoint.Load("a")
	if err != nil {
		t.Fatal(err)
	}
	bias, _ := c.Model.Get("out.2.bias")
	copy(bias.(*pt.Tensor).Data, []byte{0, 0, 0xc0, 0x7f})
	if err := pt.WriteFile("bare.pt", c.Model); err != nil {
		t.Fatal(err)
	}
	got := iddpm(t, append([]string{"sample", "bare.pt", "-o", "out", "--device", "cpu", "--num-samples", "2"}, tiny[:16]...)...)
	if got.status != exitFailed || !strings.Contains(got.lastLine(), "samples are NaN or infinite, in images 0 to 1: nothing is written") || got.stdout != "" {
		t.Errorf("%d: %s%s", got.status, got.stdout, got.stderr)
	}
	if _, err := os.Stat("out"); !os.IsNotExist(err) {
		t.Errorf("it wrote something: %v", err)
	}
}
