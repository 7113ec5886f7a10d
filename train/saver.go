package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"

	"iddpm/checkpoint"
)

// saver writes one checkpoint at a time in the background, and deletes old ones once a
// newer one is on the disk.
type saver struct {
	log       *zap.Logger
	keep      int                            // newest checkpoints to keep; 0: all
	keepEvery int                            // also keep multiples of this step; 0: none
	write     func(path string, v any) error // nil: pt.WriteFile
	saved     func(path string)              // called when one is complete; nil: no call
	safe      string                         // the newest complete checkpoint on the disk
	writing   string                         // the one being written
	result    chan error                     // receives the result of the write in progress; nil: none
}

// start starts writing a checkpoint. An error of the previous write has been logged, and this
// write is the next attempt. wait returns the error of the last write, with which the
// program exits.
func (s *saver) start(path string, dict *pt.Dict, last bool) {
	_ = s.wait()
	write := s.write
	if write == nil {
		write = pt.WriteFile
	}
	s.writing, s.result = path, make(chan error, 1)
	go func(result chan<- error) {
		err := s.put(write, path, dict)
		if err != nil && !last {
			s.log.Error("cannot save; training continues, and the next save interval tries again", zap.Error(err), zap.String("last_good", s.safe))
		}
		result <- err
	}(s.result)
}

// put writes a checkpoint, and then deletes those that it replaces. It runs concurrently
// with training and uses no fields that change meanwhile.
func (s *saver) put(write func(string, any) error, path string, dict *pt.Dict) error {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); s.safe != "" && errors.Is(err, os.ErrNotExist) {
		s.log.Warn("the checkpoint folder has been removed: creating it again", zap.String("folder", dir))
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := write(path, dict); err != nil {
		return err
	}
	s.log.Info("saved", zap.String("checkpoint", path))
	if s.saved != nil {
		s.saved(path)
	}
	for _, old := range checkpoint.ReplacedFiles(checkpoint.Files(filepath.Dir(path)), path, s.keep, s.keepEvery) {
		if err := os.Remove(old); err != nil {
			s.log.Warn("cannot remove an old checkpoint", zap.Error(err))
		}
	}
	return nil
}

// wait waits for the write in progress. Its error says what is left of the run.
func (s *saver) wait() error {
	switch err := s.finish(); {
	case err == nil:
		return nil
	case s.safe == "":
		return fmt.Errorf("cannot save the run, which has no checkpoint yet: %w", err)
	default:
		return fmt.Errorf("cannot save the run: %w\nthe last good checkpoint is %s", err, s.safe)
	}
}

// finish waits for the write in progress and returns its error.
func (s *saver) finish() error {
	if s.result == nil {
		return nil
	}
	err := <-s.result
	s.result = nil
	if err == nil {
		s.safe = s.writing
	} else {
		s.writing = ""
	}
	return err
}

// holds reports whether a checkpoint is on the disk or being written.
func (s *saver) holds(path string) bool {
	return path == s.safe || path == s.writing && s.result != nil
}
