package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/train"
)

// await waits until the process has logged a text, and fails if it ends before.
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

// limitFiles makes the kernel refuse a process's writes beyond a size, as a full
// disk does.
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

// TestFullDisk trains on while the disk takes no checkpoint, saves once it does,
// and says so at the end where it never does.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	p := start(t, trainTiny(dir, "--steps", "1000000", "--save-interval", "20")...)
	p.await(t, "saved")
	p.limitFiles(t, 100_000)
	p.await(t, "cannot save; training goes on")
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

// TestSecondSignal comes amid a long step, and ends the program at once.
func TestSecondSignal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	p := start(t, trainTiny(dir, "--batch-size", "2048", "--log-interval", "1", "--save-interval", "1000", "--steps", "1000")...)
	p.await(t, "INFO  step") // and the next one has begun
	p.signal(t, syscall.SIGINT)
	p.await(t, "once more to stop at once")
	p.signal(t, syscall.SIGTERM)
	if status := p.end(); status != exitInterrupted {
		t.Errorf("status %d: %s", status, p.stderrSoFar())
	}
	if got := checkpoints(dir); len(got) > 0 {
		t.Errorf("it still saved %v", got)
	}
}

// TestScheduler restarts one command line over and over, as a scheduler does
// whose jobs are preempted: the folder that is killed before its first
// checkpoint, the saved one and the finished one all go on.
func TestScheduler(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	args := trainTiny(dir, "--steps", "1000000", "--auto-resume")
	p := start(t, args...)
	p.waitForTraining()
	p.signal(t, syscall.SIGKILL)
	p.end()
	if len(checkpoints(dir)) > 0 || !train.Exists(dir) {
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

// TestTwoProcesses lets a second process into a run folder, which refuses.
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

// TestSampleRefusesNaN draws by weights that hold one.
func TestSampleRefusesNaN(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "1")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	c, err := train.LoadCheckpoint("a")
	if err != nil {
		t.Fatal(err)
	}
	bias, _ := c.Model.Get("out.2.bias")
	copy(bias.(*pt.Tensor).Data, []byte{0, 0, 0xc0, 0x7f})
	if err := pt.WriteFile("bare.pt", c.Model); err != nil {
		t.Fatal(err)
	}
	got := iddpm(t, append([]string{"sample", "bare.pt", "-o", "out", "--device", "cpu", "--num-samples", "2"}, tiny[:16]...)...)
	if got.status != exitFailed || !strings.Contains(got.lastLine(), "draws NaN, in pictures 0 to 1: nothing is written") || got.stdout != "" {
		t.Errorf("%d: %s%s", got.status, got.stdout, got.stderr)
	}
	if _, err := os.Stat("out"); !os.IsNotExist(err) {
		t.Errorf("it wrote something: %v", err)
	}
}
