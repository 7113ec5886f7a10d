package train

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
)

const configFile = "config.json"

// Exists reports whether a folder holds a run.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, configFile))
	return err == nil || len(checkpointsIn(dir)) > 0
}

func writeConfig(dir string, c Config) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, configFile)
	if err := renameio.WriteFile(path, append(text, '\n'), 0o666); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// save copies the state to host memory and writes it to the run folder beside
// training: a step never waits for a disk, only the next checkpoint does.
func (t *Trainer) save() error {
	path := t.CheckpointPath()
	if t.saver.last == path {
		return nil
	}
	dict, err := t.pack()
	if err != nil {
		return err
	}
	return t.saver.start(path, dict, t.log)
}

// CheckpointPath returns where the checkpoint of the present step is, or would
// be.
func (t *Trainer) CheckpointPath() string {
	return filepath.Join(t.run.Dir, checkpointDir, fmt.Sprintf("ckpt-%06d.pt", t.current))
}

// saver writes one checkpoint at a time in the background.
type saver struct {
	last string     // the checkpoint begun last
	done chan error // of the write under way; nil: there is none
}

func (s *saver) start(path string, dict *pt.Dict, log *zap.Logger) error {
	if err := s.wait(); err != nil {
		return err
	}
	s.last, s.done = path, make(chan error, 1)
	go func(done chan<- error) {
		err := pt.WriteFile(path, dict)
		if err == nil {
			log.Info("saved", zap.String("checkpoint", path))
		}
		done <- err
	}(s.done)
	return nil
}

// wait returns when nothing is being written, with the error of what was.
func (s *saver) wait() error {
	if s.done == nil {
		return nil
	}
	err := <-s.done
	s.done = nil
	if err != nil {
		return fmt.Errorf("cannot save the run: %w", err)
	}
	return nil
}
