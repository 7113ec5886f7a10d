package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"iddpm/internal/cli"
	"iddpm/storage"
	"iddpm/train"
)

// runFolder is the folder of a run.
type runFolder struct {
	dir        string   // local; "": the run's own, or a new one
	remote     *remote  // the URL that dir is a copy of; nil: none
	remotes    *remotes // loads the checkpoints that the run starts from
	uploadWait time.Duration
}

// openRunFolder opens the folder of --run-dir, or without it the folder of the URL to
// resume from.
func (s *session) openRunFolder(ctx context.Context, r *runOptions, from string) (*runFolder, error) {
	f := &runFolder{dir: r.dir, remotes: s.remotes(r.remoteOptions), uploadWait: time.Duration(r.uploadWait * float64(time.Minute))}
	var at storage.Location
	var err error
	switch {
	case storage.IsURL(r.dir):
		at, err = parseURL(r.dir)
	case r.dir == "" && storage.IsURL(from) && !isReference(from):
		at, err = runURL(from)
	default:
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	if f.remote, err = f.remotes.open(ctx, at); err != nil {
		return nil, err
	}
	f.dir = f.remote.dir
	return f, nil
}

// holdsRun reports whether the folder or its URL holds a run.
func (f *runFolder) holdsRun() bool {
	return train.Exists(f.dir) || f.remote != nil && f.remote.holdsRun()
}

// fetch returns the local path of the checkpoint or run folder to resume from.
func (f *runFolder) fetch(ctx context.Context, from string) (string, error) {
	if f.remote != nil && storage.IsURL(from) {
		if at, err := storage.Parse(from); err != nil || at == f.remote.At {
			return f.dir, errors.Join(err, f.remote.bring(ctx))
		}
	}
	if f.remote != nil && f.remote.holdsRun() { // its log is continued from any checkpoint
		if err := f.remote.bringTexts(ctx); err != nil {
			return "", err
		}
	}
	file, _, err := f.remotes.local(ctx, from)
	return file, err
}

// resumeDir returns the folder in which a run resumes: the named one, or "" for the run's
// own. A single checkpoint in a folder without write permission, such as a file mounted
// into a container, resumes in a new run folder. release is as in [runDir].
func (s *session) resumeDir(from, named string) (dir string, release func(), err error) {
	own := train.RunDirOf(from)
	if named != "" || !cli.Exists(from) || cli.Exists(filepath.Join(own, train.ConfigFile)) || unix.Access(own, unix.W_OK|unix.X_OK) == nil {
		return named, func() {}, nil
	}
	name := strings.Trim(strings.TrimSuffix(filepath.Base(from), filepath.Ext(from)), "/.")
	if dir, release, err = runDir("", name); err == nil {
		s.log.Info("the checkpoint's folder is not writable: resuming in a new run folder",
			zap.String("checkpoint", from), zap.String("run", dir), zap.String("hint", "--run-dir names another"))
	}
	return dir, release, err
}

// runsDir is the default parent of run folders.
const runsDir = "runs"

// runDir returns the folder of a new run: the named one, or the next free runs/NNN-NAME.
// It creates the latter to reserve it; release removes it if it is still empty.
func runDir(named, name string) (dir string, release func(), err error) {
	if named != "" {
		return named, func() {}, nil
	}
	if err := os.MkdirAll(runsDir, 0o777); err != nil {
		return "", nil, fmt.Errorf("cannot create a run folder: %w", err)
	}
	for n := 1; ; n++ {
		if taken, _ := filepath.Glob(filepath.Join(runsDir, fmt.Sprintf("%03d-*", n))); len(taken) > 0 {
			continue
		}
		dir := filepath.Join(runsDir, fmt.Sprintf("%03d-%s", n, name))
		err := os.Mkdir(dir, 0o777)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("cannot create a run folder: %w", err)
		}
		return dir, func() { os.Remove(dir) }, nil
	}
}
