package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/internal/host"
	"iddpm/internal/runs"
	"iddpm/storage"
	"iddpm/train"
)

// openRunFolder opens the folder of --run-dir, or without it the folder of the URL to
// resume from.
func (s *session) openRunFolder(ctx context.Context, r *runOptions, from string) (*runs.Folder, error) {
	f := &runs.Folder{Dir: r.dir, Remotes: s.remotes(r.remoteOptions), UploadWait: minutes(r.uploadWait)}
	var at storage.Location
	var err error
	switch {
	case storage.IsURL(r.dir):
		at, err = runs.ParseURL(r.dir)
	case r.dir == "" && storage.IsURL(from) && !runs.IsReference(from):
		at, err = runs.URLOf(from)
	default:
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	if f.Remote, err = f.Remotes.Open(ctx, at); err != nil {
		return nil, err
	}
	f.Dir = f.Remote.Dir
	return f, nil
}

// resumeDir returns the folder in which a run resumes: the named one, or "" for the run's
// own. A single checkpoint in a folder without write permission, such as a file mounted
// into a container, resumes in a new run folder. release is as in [runDir].
func (s *session) resumeDir(from, named string) (dir string, release func(), err error) {
	own := train.RunDirOf(from)
	if named != "" || !cli.Exists(from) || cli.Exists(filepath.Join(own, checkpoint.ConfigFile)) || unix.Access(own, unix.W_OK|unix.X_OK) == nil {
		return named, func() {}, nil
	}
	name := strings.Trim(strings.TrimSuffix(filepath.Base(from), filepath.Ext(from)), "/.")
	if dir, release, err = runs.NewDir("", name); err == nil {
		s.log.Info("the checkpoint's folder is not writable: resuming in a new run folder",
			zap.String("checkpoint", from), zap.String("run", dir), zap.String("hint", "--run-dir names another"))
	}
	return dir, release, err
}

// warnOfLoss warns if results will be lost with the container.
func (s *session) warnOfLoss(dir string) {
	if !s.container || !host.GoesWithContainer(os.DirFS("/"), dir) {
		return
	}
	s.log.Warn("results will be lost when the container is removed (docker run --rm removes it at exit): no host folder is mounted at this path",
		zap.String("folder", dir), zap.String("hint", `docker run -v "$PWD/runs:/runs", or -v "$PWD:/work" for all output`))
}

// refuseRunsOwn refuses to write among the checkpoints or snapshots of a run.
func refuseRunsOwn(dir string) error {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	full, err := filepath.Abs(dir)
	if err != nil || !checkpoint.HoldsRun(filepath.Dir(full)) {
		return nil
	}
	switch filepath.Base(full) {
	case checkpoint.Dir:
		return cli.Errorf("%s holds the checkpoints of a run: write to another folder", dir)
	case checkpoint.SnapshotDir:
		return cli.Errorf("%s holds the EMA snapshots of a run: write to another folder", dir)
	}
	return nil
}
