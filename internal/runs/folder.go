package runs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"iddpm/checkpoint"
	"iddpm/storage"
)

// Folder is the folder of a run.
type Folder struct {
	Dir        string   // local; "": the run's own, or a new one
	Remote     *remote  // the URL that Dir is a copy of; nil: none
	Remotes    *Remotes // loads the checkpoints that the run starts from
	UploadWait time.Duration
}

// HoldsRun reports whether the folder or its URL holds a run.
func (f *Folder) HoldsRun() bool {
	return checkpoint.HoldsRun(f.Dir) || f.Remote != nil && f.Remote.holdsRun()
}

// Fetch returns the local path of the checkpoint or run folder to resume from.
func (f *Folder) Fetch(ctx context.Context, from string) (string, error) {
	if f.Remote != nil && storage.IsURL(from) {
		if at, err := storage.Parse(from); err != nil || at == f.Remote.At {
			return f.Dir, errors.Join(err, f.Remote.bring(ctx))
		}
	}
	if f.Remote != nil && f.Remote.holdsRun() { // its log is continued from any checkpoint
		if err := f.Remote.bringTexts(ctx); err != nil {
			return "", err
		}
	}
	file, _, err := f.Remotes.local(ctx, from)
	return file, err
}

// DefaultParent is the default parent of run folders.
const DefaultParent = "runs"

// NewDir returns the folder of a new run: the named one, or the next free runs/NNN-NAME.
// It creates the latter to reserve it; release removes it if it is still empty.
func NewDir(named, name string) (dir string, release func(), err error) {
	if named != "" {
		return named, func() {}, nil
	}
	if err := os.MkdirAll(DefaultParent, 0o777); err != nil {
		return "", nil, fmt.Errorf("cannot create a run folder: %w", err)
	}
	for n := 1; ; n++ {
		if taken, _ := filepath.Glob(filepath.Join(DefaultParent, fmt.Sprintf("%03d-*", n))); len(taken) > 0 {
			continue
		}
		dir := filepath.Join(DefaultParent, fmt.Sprintf("%03d-%s", n, name))
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
