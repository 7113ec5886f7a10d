package runs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/internal/terminal"
	"iddpm/runconfig"
	"iddpm/storage"
	"iddpm/train"
)

// remote is a run folder at a URL and its local copy, in which the run works.
type remote struct {
	*storage.Folder
	Dir    string   // local copy
	names  []string // files at the URL when it was opened
	log    *zap.Logger
	mirror *storage.Mirror // nil: no uploads
}

// holdsRun reports whether the URL held a run when it was opened.
func (r *remote) holdsRun() bool {
	for _, name := range r.names {
		if name == checkpoint.ConfigFile {
			return true
		}
	}
	return len(checkpoint.Among(r.names)) > 0
}

// noCheckpoint returns the error of a folder without checkpoints.
func (r *remote) noCheckpoint() error {
	if r.holdsRun() {
		return fmt.Errorf("the run %s holds no checkpoint yet: wait for its first save, or, if it has stopped, resume it by `iddpm resume %s`", r.At, terminal.ShellWord(r.At.String()))
	}
	return fmt.Errorf("%s holds no checkpoint (checkpoints/ckpt-*.pt): is it a run folder?", r.At)
}

// Refuse returns an error if the URL or its copy already holds a run.
func (r *remote) Refuse() error {
	switch {
	case r.holdsRun():
		return fmt.Errorf("%s already holds a run: resume it by `iddpm resume %s`, or name another --run-dir", r.At, terminal.ShellWord(r.At.String()))
	case checkpoint.HoldsRun(r.Dir):
		return fmt.Errorf("%s holds no run, but its copy on this machine, %s, does: `iddpm resume %s` resumes and uploads it; to start a new run, remove the copy", r.At, r.Dir, terminal.ShellWord(r.At.String()))
	}
	return nil
}

// bring downloads the files that are needed to resume the run.
func (r *remote) bring(ctx context.Context) error {
	if !r.holdsRun() {
		if !checkpoint.HoldsRun(r.Dir) {
			return fmt.Errorf("%s holds no run", r.At)
		}
		r.log.Warn("the URL holds no run: resuming its copy on this machine", zap.Stringer("url", r.At), zap.String("copy", r.Dir))
		return nil
	}
	if err := r.bringTexts(ctx); err != nil {
		return err
	}
	_, err := r.newest(ctx)
	copied := checkpoint.Files(r.Dir)
	if _, uploaded := newestOf(r.names); err == nil && len(copied) > 0 && checkpoint.StepOf(copied[0]) > uploaded {
		r.log.Warn("the copy on this machine is newer than the URL: resuming from it", zap.String("newest", copied[0]), zap.Stringer("url", r.At))
	}
	return err
}

// newestOf returns the newest checkpoint among the files of a run folder, and its step; -1
// if there is none.
func newestOf(names []string) (name string, step int) {
	all := checkpoint.Among(names)
	if len(all) == 0 {
		return "", -1
	}
	step, _ = checkpoint.Step(all[0])
	return all[0], step
}

// bringTexts downloads the text files of a run folder. It keeps a longer local log, whose
// last lines were not uploaded.
func (r *remote) bringTexts(ctx context.Context) error {
	if err := r.compare(ctx); err != nil {
		return err
	}
	for _, name := range train.Texts() {
		o, err := r.Stat(ctx, name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info, err := os.Stat(filepath.Join(r.Dir, name)); err == nil && info.Size() > o.Size {
			continue
		}
		if err := r.Fetch(ctx, name, filepath.Join(r.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// compare returns an error if the local copy belongs to another run.
func (r *remote) compare(ctx context.Context) error {
	const config = checkpoint.ConfigFile
	if _, err := os.Stat(filepath.Join(r.Dir, config)); err != nil {
		return nil
	}
	temporary, err := os.MkdirTemp("", "iddpm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	err = r.Fetch(ctx, config, filepath.Join(temporary, config))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	same, err := train.SameRun(r.Dir, temporary)
	if err != nil {
		return fmt.Errorf("cannot compare %s with its copy %s: %w", r.At, r.Dir, err)
	}
	if !same {
		return fmt.Errorf("%s is a copy of another run, not of %s: move it elsewhere, or name another --remote-cache", r.Dir, r.At)
	}
	return nil
}

// fetch downloads the files of some names.
func (r *remote) fetch(ctx context.Context, wanted func(name string) bool) error {
	for _, name := range r.names {
		if !wanted(name) {
			continue
		}
		if err := r.Fetch(ctx, name, filepath.Join(r.Dir, filepath.FromSlash(name))); err != nil {
			return err
		}
	}
	return nil
}

// newest downloads and returns the newest readable checkpoint; nil if there is none.
func (r *remote) newest(ctx context.Context) (*checkpoint.Checkpoint, error) {
	var errs []error
	for _, name := range checkpoint.Among(r.names) {
		file := filepath.Join(r.Dir, filepath.FromSlash(name))
		err := r.Fetch(ctx, name, file)
		if err != nil && !errors.Is(err, storage.ErrDamaged) && !errors.Is(err, os.ErrNotExist) {
			return nil, err // an older one would not fix a network error
		}
		if err == nil {
			var c *checkpoint.Checkpoint
			if c, err = checkpoint.Load(file); err == nil {
				return c, nil
			}
		}
		r.log.Warn("cannot read this checkpoint: trying the previous one", zap.Error(err))
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("no checkpoint of %s can be read: %w", r.At, errors.Join(errs...))
	}
	return nil, nil
}

// Begin starts to mirror the run folder to the URL. It uploads the first file
// synchronously, so that a missing write permission shows before the work.
func (r *remote) Begin(ctx context.Context, config runconfig.Config) error {
	if r == nil {
		return nil
	}
	if err := r.Put(ctx, checkpoint.ConfigFile, filepath.Join(r.Dir, checkpoint.ConfigFile)); err != nil {
		return fmt.Errorf("cannot write to the run folder: %w", err)
	}
	o := storage.MirrorOptions{Ignore: []string{train.LockFile},
		Sent: func(name string, size int64, took time.Duration) {
			if _, ok := checkpoint.Step(name); ok {
				r.log.Info("uploaded", zap.Stringer("checkpoint", r.At.Join(name)), zap.Int64("bytes", size), zap.Duration("took", took.Round(time.Millisecond)))
			}
		},
		Removed: func(name string) { r.log.Info("removed", zap.Stringer("checkpoint", r.At.Join(name))) },
	}
	if config.Train.Keep > 0 {
		o.Replaced = func(there, sent []string) []string { return checkpoint.Replaced(config.Train, there, sent) }
	}
	r.mirror = r.Mirror(r.Dir, o)
	return nil
}

// Finish waits for pending uploads, until an interrupt. The error names the files that are
// not uploaded.
func (r *remote) Finish(ctx context.Context, wait time.Duration) error {
	if r == nil || r.mirror == nil {
		return nil
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	late := ctx.Err() == nil
	if late {
		defer context.AfterFunc(ctx, cancel)()
	}
	r.log.Info("waiting for pending uploads", zap.Stringer("url", r.At), zap.Duration("timeout", wait))
	err := r.mirror.Close(bounded)
	if err != nil && late && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", train.ErrInterrupted, err)
	}
	return errors.Join(err, r.Close())
}
