package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/checkpoint"
	"iddpm/internal/madeup"
	"iddpm/runconfig"
)

// names returns the names of the files in the checkpoint folder, including hidden ones.
func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, checkpoint.Dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func closeTrainer(t *testing.T, trainer *Trainer) {
	t.Helper()
	if err := trainer.Close(); err != nil {
		t.Error(err)
	}
}

// TestResumeBeforeFirstCheckpoint resumes a run that was killed before its first save: it
// starts again, and ends in the same state.
func TestResumeBeforeFirstCheckpoint(t *testing.T) {
	whole := train(t, madeup.Run(), t.TempDir())
	dir := t.TempDir()
	killed, err := New(madeup.Run(), Run{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	closeTrainer(t, killed) // does not save
	if !checkpoint.HoldsRun(dir) {
		t.Error("the folder holds no run")
	}
	want := fmt.Sprintf("the run %s holds no checkpoint yet: wait for its first save, or, if it has stopped, resume it by `iddpm resume %s`", dir, dir)
	if _, err := checkpoint.Load(dir); err == nil || err.Error() != want {
		t.Errorf("checkpoint.Load returned %v", err)
	}
	resumed, err := Resume(dir, nil, Run{})
	sameState(t, whole, finish(t, resumed, err))
}

func TestRunFolderLock(t *testing.T) {
	dir := t.TempDir()
	first, err := New(madeup.Run(), Run{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	owner := fmt.Sprintf("is in use by process %d on ", os.Getpid())
	if _, err := Resume(dir, nil, Run{}); err == nil || !strings.Contains(err.Error(), owner) {
		t.Errorf("Resume of a running run: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, checkpoint.ConfigFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(madeup.Run(), Run{Dir: dir}); err == nil || !strings.Contains(err.Error(), owner) {
		t.Errorf("New in a folder that is in use: %v", err)
	}
	closeTrainer(t, first)
	if _, err := os.Stat(filepath.Join(dir, LockFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock file still exists: %v", err)
	}
	second, err := New(madeup.Run(), Run{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	closeTrainer(t, second)
}

// TestResumeCleansUp removes the temporary file of a killed process.
func TestResumeCleansUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[run]") // no pattern
	train(t, madeup.Run(), dir)
	if err := os.WriteFile(filepath.Join(dir, checkpoint.Dir, ".ckpt-000009.pt12345"), []byte("half"), 0o666); err != nil {
		t.Fatal(err)
	}
	resumed, err := Resume(dir, upTo(7), Run{})
	finish(t, resumed, err)
	if got := names(t, dir); !slices.Equal(got, []string{"ckpt-000006.pt", "ckpt-000007.pt"}) {
		t.Errorf("the folder holds %v", got)
	}
}

// TestResumeOlder resumes from an older checkpoint: the log warns of the newer one, which is
// not deleted.
func TestResumeOlder(t *testing.T) {
	c := madeup.Run()
	c.Train.SaveInterval, c.Train.Keep = 2, 2
	dir := t.TempDir()
	train(t, c, dir)
	core, logs := observer.New(zapcore.WarnLevel)
	resumed, err := Resume(filepath.Join(dir, checkpoint.Dir, "ckpt-000004.pt"), upTo(5), Run{Log: zap.New(core)})
	finish(t, resumed, err)
	if logs.FilterMessageSnippet("newer checkpoint").Len() != 1 {
		t.Errorf("the log says %v", logs.All())
	}
	if got, want := names(t, dir), []string{"ckpt-000004.pt", "ckpt-000005.pt", "ckpt-000006.pt"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}

func TestKeep(t *testing.T) {
	c := madeup.Run()
	c.Train.SaveInterval, c.Train.Keep, c.Train.KeepEvery = 1, 2, 3
	dir := t.TempDir()
	train(t, c, dir)
	if got, want := names(t, dir), []string{"ckpt-000003.pt", "ckpt-000005.pt", "ckpt-000006.pt"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}

// faultyDisk fails to write the checkpoints of some steps. Like pt.WriteFile, it then leaves
// no file under the final name.
type faultyDisk struct {
	err    error
	steps  []int
	failed []int
}

func (d *faultyDisk) write(path string, v any) error {
	if step := checkpoint.StepOf(path); slices.Contains(d.steps, step) {
		d.failed = append(d.failed, step)
		return &fs.PathError{Op: "sync", Path: path, Err: d.err}
	}
	return pt.WriteFile(path, v)
}

// trainOn trains on a faulty disk, and returns Train's error and the log.
func trainOn(t *testing.T, d *faultyDisk, change func(*runconfig.Config)) (dir string, logs *observer.ObservedLogs, err error) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	c := madeup.Run()
	c.Train.SaveInterval = 2
	change(&c)
	dir = t.TempDir()
	trainer, err := New(c, Run{Dir: dir, Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	trainer.saver.write = d.write
	err = trainer.Train(t.Context())
	closeTrainer(t, trainer)
	return dir, logs, err
}

// TestFailedSaveIsRepeated trains while a write fails: the previous checkpoint is kept even
// if Keep is 1, and the next interval saves.
func TestFailedSaveIsRepeated(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO} {
		d := &faultyDisk{err: fault, steps: []int{4}}
		dir, logs, err := trainOn(t, d, func(c *runconfig.Config) { c.Train.Keep = 1 })
		if err != nil || !slices.Equal(d.failed, d.steps) {
			t.Errorf("%v: Train returned %v, the writes of %v failed", fault, err, d.failed)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"ckpt-000006.pt"}) {
			t.Errorf("%v: the folder holds %v", fault, got)
		}
		said := logs.FilterMessageSnippet("cannot save").All()
		if len(said) != 1 || !strings.HasSuffix(said[0].ContextMap()["last_good"].(string), "ckpt-000002.pt") ||
			!strings.Contains(said[0].ContextMap()["error"].(string), fault.Error()) {
			t.Errorf("%v: the log says %v", fault, said)
		}
	}
}

// TestLastSaveFails ends a run whose last checkpoint cannot be written: Train returns an error
// that names the last good one.
func TestLastSaveFails(t *testing.T) {
	dir, logs, err := trainOn(t, &faultyDisk{err: syscall.ENOSPC, steps: []int{4, 6}}, func(c *runconfig.Config) { c.Train.Keep = 1 })
	if n := logs.FilterMessageSnippet("training continues").Len(); n != 1 { // after step 4
		t.Errorf("it says %d times that training continues", n)
	}
	for _, want := range []string{"cannot save the run", syscall.ENOSPC.Error(), "the last good checkpoint is", "ckpt-000002.pt"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if got := names(t, dir); !slices.Equal(got, []string{"ckpt-000002.pt"}) {
		t.Errorf("the folder holds %v", got)
	}
}

// TestCheckpointFolderRemoved moves the checkpoint folder away during a run: the next save
// creates it again.
func TestCheckpointFolderRemoved(t *testing.T) {
	c := madeup.Run()
	c.Train.SaveInterval = 1
	dir := t.TempDir()
	folder, away := filepath.Join(dir, checkpoint.Dir), filepath.Join(t.TempDir(), "away")
	var trainer *Trainer
	core, logs := observer.New(zapcore.WarnLevel)
	trainer, err := New(c, Run{Dir: dir, Log: zap.New(core), Progress: func(p Progress) {
		if p.Step == 3 {
			if err := errors.Join(trainer.saver.wait(), os.Rename(folder, away)); err != nil {
				t.Error(err)
			}
		}
	}})
	finish(t, trainer, err)
	if got, want := names(t, dir), []string{"ckpt-000003.pt", "ckpt-000004.pt", "ckpt-000005.pt", "ckpt-000006.pt"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
	if logs.FilterMessageSnippet("creating it again").Len() != 1 || logs.FilterMessageSnippet("cannot save").Len() != 0 {
		t.Errorf("the log says %v", logs.All())
	}
}

// TestInterruptCannotSave interrupts a run whose disk is read-only.
func TestInterruptCannotSave(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	trainer, err := New(madeup.Run(), Run{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	trainer.saver.write = (&faultyDisk{err: syscall.EROFS, steps: []int{0}}).write
	err = trainer.Train(ctx)
	if errors.Is(err, ErrInterrupted) || !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "which has no checkpoint yet") {
		t.Errorf("Train returned %v", err)
	}
	closeTrainer(t, trainer)
}

// TestSaveRunsInBackground writes the checkpoint of step 4 only after step 6: if a step waited
// for it, the test would not end. The checkpoint holds the state of step 4.
func TestSaveRunsInBackground(t *testing.T) {
	c := madeup.Run()
	dir, later := t.TempDir(), make(chan struct{})
	c.Train.SaveInterval, c.Train.Steps = 4, 7
	trainer, err := New(c, Run{Dir: dir, Progress: func(p Progress) {
		if p.Step == 6 {
			close(later)
		}
	}})
	if err == nil {
		trainer.saver.write = func(path string, v any) error {
			<-later
			return pt.WriteFile(path, v)
		}
	}
	if last := finish(t, trainer, err); last.Step != 7 {
		t.Errorf("the newest checkpoint is of step %d", last.Step)
	}
	snapshot, err := checkpoint.Load(filepath.Join(dir, checkpoint.Dir, "ckpt-000004.pt"))
	if err != nil {
		t.Fatal(err)
	}
	c.Train.Steps = 4
	sameState(t, train(t, c, t.TempDir()), snapshot)
}

// TestResumeElsewhere resumes a checkpoint in another run folder: it uses a new folder, and
// leaves that of another run unchanged.
func TestResumeElsewhere(t *testing.T) {
	from, other, c := t.TempDir(), t.TempDir(), madeup.Run()
	c.Train.Steps = 2
	source := train(t, c, from).Path
	c.Train.Seed = 9
	train(t, c, other)
	files := []string{checkpoint.ConfigFile, "log.jsonl", filepath.Join(checkpoint.Dir, "ckpt-000002.pt")}
	before := make([][]byte, len(files))
	for i, name := range files {
		before[i] = read(t, filepath.Join(other, name))
	}
	for _, path := range []string{source, from} {
		_, err := Resume(path, upTo(4), Run{Dir: other})
		if err == nil || !strings.Contains(err.Error(), other+" already holds a run") {
			t.Errorf("Resume(%s) in another run's folder: %v", path, err)
		}
	}
	for i, name := range files {
		if !bytes.Equal(read(t, filepath.Join(other, name)), before[i]) {
			t.Errorf("%s of the other run has changed", name)
		}
	}
	resumed, err := Resume(source, upTo(4), Run{Dir: filepath.Join(t.TempDir(), "new")})
	if last := finish(t, resumed, err); last.Step != 4 {
		t.Errorf("in a new folder it ends at step %d", last.Step)
	}
	resumed, err = Resume(source, upTo(4), Run{Dir: filepath.Join(from, "samples", "..")})
	finish(t, resumed, err)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestResumeCheckpointsFolder resumes by the path of the checkpoint folder.
func TestResumeCheckpointsFolder(t *testing.T) {
	c, run := madeup.Run(), t.TempDir()
	c.Train.Steps = 1
	train(t, c, run)
	for name, c := range map[string]struct {
		below string
		in    string // the folder that the process works in
	}{
		"run":                 {".", ""},
		"checkpoints":         {checkpoint.Dir, ""},
		"with a slash":        {checkpoint.Dir + "/", ""},
		"within the folder":   {".", checkpoint.Dir},
		"a file there":        {checkpoint.Dir + "/ckpt-000001.pt", ""},
		"a file, from within": {"ckpt-000001.pt", checkpoint.Dir},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(run)); err != nil {
				t.Fatal(err)
			}
			t.Chdir(filepath.Join(dir, c.in))
			resumed, err := Resume(c.below, upTo(2), Run{})
			finish(t, resumed, err)
			if got := names(t, dir); !slices.Equal(got, []string{"ckpt-000001.pt", "ckpt-000002.pt"}) {
				t.Errorf("the folder holds %v", got)
			}
		})
	}
}
