package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
)

// saver writes one checkpoint at a time in the background, and removes old ones
// once a newer one is safe.
type saver struct {
	log       *zap.Logger
	keep      int                            // newest checkpoints that stay; 0: all
	keepEvery int                            // multiples of this step stay too; 0: none
	write     func(path string, v any) error // nil: pt.WriteFile
	safe      string                         // the newest checkpoint that is whole on the disk
	writing   string                         // the one under way
	done      chan error                     // of the write under way; nil: there is none
}

// start begins to write a checkpoint. If the one before it could not be written,
// the log has said so, and this one is the new attempt; the error of the last one
// is what wait returns, and what the program ends with.
func (s *saver) start(path string, dict *pt.Dict, last bool) {
	_ = s.wait()
	write := s.write
	if write == nil {
		write = pt.WriteFile
	}
	s.writing, s.done = path, make(chan error, 1)
	go func(done chan<- error) {
		err := s.put(write, path, dict)
		if err != nil && !last {
			s.log.Error("cannot save; training goes on, and the next save interval tries again", zap.Error(err), zap.String("last_good", s.safe))
		}
		done <- err
	}(s.done)
}

// put writes a checkpoint, and then removes those that it replaces. It may use
// only what does not change while it runs.
func (s *saver) put(write func(string, any) error, path string, dict *pt.Dict) error {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		s.log.Warn("the folder of the checkpoints has been removed: creating it again", zap.String("folder", dir))
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := write(path, dict); err != nil {
		return err
	}
	s.log.Info("saved", zap.String("checkpoint", path))
	for _, old := range replaced(checkpointsIn(filepath.Dir(path)), path, s.keep, s.keepEvery) {
		if err := os.Remove(old); err != nil {
			s.log.Warn("cannot remove an old checkpoint", zap.Error(err))
		}
	}
	return nil
}

// wait returns when nothing is being written, with the error of what was.
func (s *saver) wait() error {
	if s.done == nil {
		return nil
	}
	err := <-s.done
	s.done = nil
	if err == nil {
		s.safe = s.writing
		return nil
	}
	s.writing = ""
	if s.safe == "" {
		return fmt.Errorf("cannot save the run, of which there is no checkpoint yet: %w", err)
	}
	return fmt.Errorf("cannot save the run: %w\nthe last good checkpoint is %s", err, s.safe)
}

// holds reports whether a checkpoint is safe, or about to be.
func (s *saver) holds(path string) bool { return path == s.safe || path == s.writing && s.done != nil }

// checkpointPath returns where the checkpoint of the present step is, or would
// be.
func (t *Trainer) checkpointPath() string {
	return checkpointFile(t.run.Dir, t.current)
}

// save copies the state to host memory and writes it to the run folder beside
// training: a step never waits for a disk, only the next checkpoint does. A
// write that fails is logged, and tried again at the next save; of the last one,
// for which there is no next, wait tells.
func (t *Trainer) save(last bool) error {
	path := t.checkpointPath()
	if t.saver.holds(path) || !t.group.IsLeader() {
		return nil
	}
	dict, err := t.pack()
	if err != nil {
		return err
	}
	t.saver.start(path, dict, last)
	return nil
}

// saveNow saves, and waits until the checkpoint is safe.
func (t *Trainer) saveNow() error {
	err := t.onTensorThread(func() error { return t.save(true) })
	return errors.Join(err, t.saver.wait())
}

// saveLast saves, and waits until that is safe; where the last step was bad, an
// older checkpoint is worth more than a newer one that may hold what broke it.
func (t *Trainer) saveLast() error {
	if t.healthy() || t.saver.safe == "" {
		if err := t.save(true); err != nil {
			return err
		}
	}
	return t.saver.wait()
}
