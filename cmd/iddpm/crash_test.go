package main

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/checkpoint"
)

// process is the program in a process of its own.
type process struct {
	*exec.Cmd
	mu       sync.Mutex
	training chan struct{} // closed when training begins
	ended    chan struct{} // closed when standard error ends
	stderr   bytes.Buffer
	saved    int // the newest step that the log reports as saved, or -1
}

var savedLine = regexp.MustCompile(`INFO\s+saved\s.*ckpt-(\d+)\.pt`)

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], args...), training: make(chan struct{}), ended: make(chan struct{}), saved: -1}
	p.Env = append(os.Environ(), "TEST_AS_PROGRAM=1", "OMP_NUM_THREADS=1")
	logs, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() }) // if the test fails
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(logs); lines.Scan(); {
			p.take(lines.Text())
		}
	}()
	return p
}

var trainingLine = regexp.MustCompile(`INFO\s+training\s`)

func (p *process) take(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stderr.WriteString(line + "\n")
	if m := savedLine.FindStringSubmatch(line); m != nil {
		p.saved, _ = strconv.Atoi(m[1])
	}
	if trainingLine.MatchString(line) {
		close(p.training)
	}
}

// stderrSoFar returns what the process has logged.
func (p *process) stderrSoFar() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// savedSoFar returns the newest step that the log reports as saved, or -1.
func (p *process) savedSoFar() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.saved
}

// waitForTraining waits until the process trains or exits.
func (p *process) waitForTraining() {
	select {
	case <-p.training:
	case <-p.ended:
	}
}

// end waits for the process and returns its exit status (-1: killed).
func (p *process) end() int {
	<-p.ended
	p.Wait()
	return p.ProcessState.ExitCode()
}

// kills is the number of kills of TestKill: a few, or $IDDPM_KILLS.
func kills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("IDDPM_KILLS"))
	if err != nil {
		return 8
	}
	return n
}

// TestKill sends SIGKILL to a training process at random moments: while it starts or
// restores, once it trains, and once it has saved, so that the run progresses even on a
// slow disk. It saves at every step, so most kills interrupt a write. After each, every
// file under a final name is complete and nothing that was reported as saved is lost; the
// resumed run ends with the bits of an uninterrupted one.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	args := trainTiny(dir, "--steps", "100000", "--save-interval", "1", "--keep", "2", "--seed", "5")
	random := rand.New(rand.NewPCG(1, 2))
	newest, amidst, before := 0, 0, 0
	for i := range kills(t) {
		p := start(t, args...)
		switch i % 8 {
		case 0: // it may still be starting, or restoring
		case 1, 3, 5:
			p.waitForTraining()
		default:
			p.await(t, "INFO  saved")
		}
		time.Sleep(time.Duration(random.IntN(250)) * time.Millisecond)
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if status := p.end(); status != -1 {
			t.Fatalf("it ended by itself, with %d:\n%s", status, p.stderr.String())
		}
		newest = checkRun(t, dir, max(newest, p.saved))
		if torn, _ := filepath.Glob(filepath.Join(dir, "checkpoints", ".ckpt-*")); len(torn) > 0 {
			amidst++
		}
		if checkpoint.HoldsRun(dir) {
			args = []string{"resume", dir, "--device", "cpu"}
		} else {
			before++
		}
	}
	t.Logf("%d kills: %d within a write, %d before there was a run; %d steps were saved", kills(t), amidst, before, newest)
	last := newest + 2
	if newest == 0 {
		t.Fatal("nothing was ever saved")
	}
	if got := iddpm(t, "resume", dir, "--steps", strconv.Itoa(last), "--device", "cpu"); got.status != exitDone {
		t.Fatalf("resume: %d, %s", got.status, got.stderr)
	}
	whole := filepath.Join(t.TempDir(), "whole")
	if got := iddpm(t, trainTiny(whole, "--steps", strconv.Itoa(last), "--seed", "5")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	sameWeights(t, whole, dir)
}

// checkRun reads every checkpoint and returns the step of the newest, which must be at
// least least.
func checkRun(t *testing.T, dir string, least int) (newest int) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "ckpt-*.pt"))
	for _, file := range files {
		c, err := checkpoint.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		newest = max(newest, c.Step)
	}
	if newest < least {
		t.Fatalf("step %d was saved, but the newest checkpoint is of step %d", least, newest)
	}
	return newest
}

// sameWeights fails unless two runs have bit-identical weights.
func sameWeights(t *testing.T, a, b string) {
	t.Helper()
	one, err := checkpoint.Load(a)
	if err != nil {
		t.Fatal(err)
	}
	two, err := checkpoint.Load(b)
	if err != nil {
		t.Fatal(err)
	}
	if one.Step != two.Step {
		t.Fatalf("steps %d and %d", one.Step, two.Step)
	}
	for name, value := range one.Model.All() {
		other, _ := two.Model.Get(name)
		if !bytes.Equal(value.(*pt.Tensor).Data, other.(*pt.Tensor).Data) {
			t.Errorf("%v differs", name)
		}
	}
}
