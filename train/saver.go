package train

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"

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

// replaced returns which checkpoint files are to go now that the newest is safe:
// all but the newest `keep` up to it, and those whose step is a multiple of
// keepEvery. Files beyond its step belong to another course of the run, and stay.
func replaced(files []string, newest string, keep, keepEvery int) (old []string) {
	if keep == 0 {
		return nil
	}
	upTo, kept := stepOf(newest), 0
	for _, file := range files { // the newest first
		step := stepOf(file)
		if step > upTo {
			continue
		}
		if kept++; kept > keep && !(keepEvery > 0 && step%keepEvery == 0) {
			old = append(old, file)
		}
	}
	return old
}

// Checkpoints returns which of the files of a run folder, named from it on and
// with slashes, are its checkpoints, the newest first.
func Checkpoints(names []string) (all []string) {
	for _, name := range names {
		if dir := path.Dir(name); (dir == checkpointDir || dir == ".") && stepOf(name) >= 0 {
			all = append(all, name)
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return stepOf(all[i]) > stepOf(all[j]) })
	return all
}

// Replaced returns which files of a copy of the run folder are to go now that
// those of `sent`, the newest first, have arrived there whole: the checkpoints
// that Keep and KeepEvery do not keep here either.
func (o Options) Replaced(there, sent []string) []string {
	for _, name := range sent {
		if len(Checkpoints([]string{name})) > 0 {
			return replaced(Checkpoints(there), name, o.Keep, o.KeepEvery)
		}
	}
	return nil
}

// stepOf returns the step in a checkpoint's file name, or -1.
func stepOf(path string) int {
	m := checkpointName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return -1
	}
	step, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return step
}
