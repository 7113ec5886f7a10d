package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"iddpm/storage"
	"iddpm/train"
)

// remoteOptions are what commands that take URLs have in common.
type remoteOptions struct{ cache string }

func (o *remoteOptions) options() []option {
	return []option{{name: "remote-cache", category: categoryRun, local: true, value: &o.cache, standard: "iddpm/remote in the user's cache folder",
		usage: "keep the copies of what s3://, gs:// and file:// URLs name in `DIR`"}}
}

// remotes brings what URLs name to this machine.
type remotes struct {
	cache string
	log   *zap.Logger
}

// remotes brings what URLs name, and logs to the session's screen.
func (s *session) remotes(o remoteOptions) *remotes { return &remotes{cache: o.cache, log: s.log} }

// remote is a run folder behind a URL, and its copy on this machine, which is
// what a run works in.
type remote struct {
	*storage.Folder
	dir    string   // the copy
	names  []string // files there when it was opened
	log    *zap.Logger
	mirror *storage.Mirror // nil: nothing is being sent
}

// open opens a URL and lists it.
func (r *remotes) open(ctx context.Context, at storage.Location) (*remote, error) {
	cache := r.cache
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no place for the copy of %s, name one by --remote-cache: %w", at, err)
		}
		cache = filepath.Join(user, "iddpm", "remote")
	}
	f, err := storage.Open(ctx, at, storage.Options{Failed: func(err error, wait time.Duration) {
		r.log.Warn("the storage does not do what it should: trying again", zap.Error(err), zap.Duration("in", wait.Round(time.Millisecond)))
	}})
	if err != nil {
		return nil, err
	}
	objects, err := f.List(ctx, "")
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	there := &remote{Folder: f, dir: at.Copy(cache), log: r.log}
	for _, o := range objects {
		there.names = append(there.names, o.Name)
	}
	return there, nil
}

// checkpoint reads a checkpoint, which may be behind a URL: of a run folder the newest
// that can be read.
func (r *remotes) checkpoint(ctx context.Context, arg string) (*train.Checkpoint, error) {
	file, c, err := r.local(ctx, arg)
	if err != nil || c != nil {
		return c, err
	}
	return train.LoadCheckpoint(file)
}

// local returns where a checkpoint lies on this machine, after bringing it here
// if the argument is a URL. To know which one of a run folder there can be read it has
// to read it: then it returns that, too.
func (r *remotes) local(ctx context.Context, arg string) (file string, c *train.Checkpoint, err error) {
	if !storage.IsURL(arg) {
		return arg, nil, nil
	}
	at, err := storage.Parse(arg)
	if err != nil {
		return "", nil, usageError{err}
	}
	there, err := r.open(ctx, at)
	if err != nil {
		return "", nil, err
	}
	defer there.Close()
	if len(there.names) == 0 { // a file, or nothing
		return there.dir, nil, there.Fetch(ctx, "", there.dir)
	}
	if err := there.bringTexts(ctx); err != nil {
		return "", nil, err
	}
	c, err = there.newest(ctx)
	switch {
	case err == nil && c == nil && there.holdsRun():
		err = fmt.Errorf("the run %s holds no checkpoint yet: wait for its first save, or, if it has stopped, go on with it by `iddpm resume %s`", at, shellWord(at.String()))
	case err == nil && c == nil:
		err = fmt.Errorf("%s holds no checkpoint (checkpoints/ckpt-*.pt): is it a run folder?", at)
	}
	if err != nil {
		return "", nil, err
	}
	return c.Path, c, nil
}

// localRun returns where the argument of a figure, PATH or NAME=PATH, lies on
// this machine: of a run folder its copy, with its newest checkpoint if weights
// are asked for.
func (r *remotes) localRun(ctx context.Context, arg string, weights bool) (string, error) {
	name, url, named := strings.Cut(arg, "=")
	if !named || storage.IsURL(arg) {
		name, url = "", arg
	}
	if !storage.IsURL(url) {
		return arg, nil
	}
	at, err := storage.Parse(url)
	if err != nil {
		return "", usageError{err}
	}
	there, err := r.open(ctx, at)
	if err != nil {
		return "", err
	}
	defer there.Close()
	switch {
	case len(there.names) == 0:
		err = there.Fetch(ctx, "", there.dir)
	case weights:
		if err = there.bringTexts(ctx); err == nil {
			_, err = there.newest(ctx)
		}
	default:
		err = there.bringTexts(ctx)
	}
	if name != "" {
		return name + "=" + there.dir, err
	}
	return there.dir, err
}

// holdsRun reports whether a run had begun there.
func (r *remote) holdsRun() bool {
	for _, name := range r.names {
		if name == train.ConfigFile {
			return true
		}
	}
	return len(train.Checkpoints(r.names)) > 0
}

// refuse says where a run is in the way of a new one.
func (r *remote) refuse() error {
	switch {
	case r.holdsRun():
		return fmt.Errorf("%s holds a run already: go on with it by `iddpm resume %s`, or name another --run-dir", r.At, shellWord(r.At.String()))
	case train.Exists(r.dir):
		return fmt.Errorf("%s holds no run, but its copy on this machine, %s, does: `iddpm resume %s` goes on with that and uploads it; to begin anew, remove the copy", r.At, r.dir, shellWord(r.At.String()))
	}
	return nil
}

// bring brings back what it takes to go on with the run.
func (r *remote) bring(ctx context.Context) error {
	if !r.holdsRun() {
		if !train.Exists(r.dir) {
			return fmt.Errorf("%s holds no run", r.At)
		}
		r.log.Warn("the URL holds no run: going on with its copy on this machine", zap.Stringer("url", r.At), zap.String("copy", r.dir))
		return nil
	}
	if err := r.bringTexts(ctx); err != nil {
		return err
	}
	_, err := r.newest(ctx)
	entries, _ := os.ReadDir(filepath.Join(r.dir, "checkpoints")) // there may be none yet
	var copied []string
	for _, e := range entries {
		copied = append(copied, path.Join("checkpoints", e.Name()))
	}
	name, step := newestOf(copied)
	if _, there := newestOf(r.names); err == nil && step > there {
		r.log.Warn("the copy on this machine is ahead of the URL: going on from it", zap.String("newest", filepath.Join(r.dir, name)), zap.Stringer("url", r.At))
	}
	return err
}

// newestOf returns the newest checkpoint of the files of a run folder, and its step;
// -1: there is none.
func newestOf(names []string) (name string, step int) {
	all := train.Checkpoints(names)
	if len(all) == 0 {
		return "", -1
	}
	step, _ = train.CheckpointStep(all[0])
	return all[0], step
}

// bringTexts brings the small files of a run folder. A log that is longer here
// has lines that were not sent any more.
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
		if info, err := os.Stat(filepath.Join(r.dir, name)); err == nil && info.Size() > o.Size {
			continue
		}
		if err := r.Fetch(ctx, name, filepath.Join(r.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// compare refuses a copy that is of another run.
func (r *remote) compare(ctx context.Context) error {
	const config = train.ConfigFile
	if _, err := os.Stat(filepath.Join(r.dir, config)); err != nil {
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
	same, err := train.SameRun(r.dir, temporary)
	if err != nil {
		return fmt.Errorf("cannot compare %s with its copy %s: %w", r.At, r.dir, err)
	}
	if !same {
		return fmt.Errorf("%s is a copy of another run than %s holds: move it elsewhere, or name another --remote-cache", r.dir, r.At)
	}
	return nil
}

// newest brings the newest checkpoint that can be read, and returns it; nil where
// there is none at all.
func (r *remote) newest(ctx context.Context) (*train.Checkpoint, error) {
	var errs []error
	for _, name := range train.Checkpoints(r.names) {
		file := filepath.Join(r.dir, filepath.FromSlash(name))
		err := r.Fetch(ctx, name, file)
		if err != nil && !errors.Is(err, storage.ErrDamaged) && !errors.Is(err, os.ErrNotExist) {
			return nil, err // an older one is no cure for a broken line
		}
		if err == nil {
			var c *train.Checkpoint
			if c, err = train.LoadCheckpoint(file); err == nil {
				return c, nil
			}
		}
		r.log.Warn("this checkpoint cannot be read: trying the one before", zap.Error(err))
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("no checkpoint of %s can be read: %w", r.At, errors.Join(errs...))
	}
	return nil, nil
}

// begin starts to send the run's folder beside training. The first file is sent
// at once: that nothing may be written there had better show before the work.
func (r *remote) begin(ctx context.Context, config train.Config) error {
	if r == nil {
		return nil
	}
	if err := r.Put(ctx, train.ConfigFile, filepath.Join(r.dir, train.ConfigFile)); err != nil {
		return fmt.Errorf("cannot write to the run folder: %w", err)
	}
	o := storage.MirrorOptions{Ignore: []string{train.LockFile},
		Sent: func(name string, size int64, took time.Duration) {
			if _, ok := train.CheckpointStep(name); ok {
				r.log.Info("uploaded", zap.Stringer("checkpoint", r.At.Join(name)), zap.Int64("bytes", size), zap.Duration("took", took.Round(time.Millisecond)))
			}
		},
		Removed: func(name string) { r.log.Info("removed", zap.Stringer("checkpoint", r.At.Join(name))) },
	}
	if config.Train.Keep > 0 {
		o.Replaced = config.Train.Replaced
	}
	r.mirror = r.Mirror(r.dir, o)
	return nil
}

// finish waits for the uploads, or for an interrupt that comes meanwhile. What
// is not there then is an error that names it.
func (r *remote) finish(ctx context.Context, wait time.Duration) error {
	if r == nil || r.mirror == nil {
		return nil
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	late := ctx.Err() == nil
	if late {
		defer context.AfterFunc(ctx, cancel)()
	}
	r.log.Info("waiting for what is not uploaded yet", zap.Stringer("url", r.At), zap.Duration("at most", wait))
	err := r.mirror.Close(bounded)
	if err != nil && late && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", train.ErrInterrupted, err)
	}
	return errors.Join(err, r.Close())
}

// runURL returns the URL of the run folder that a URL belongs to.
func runURL(url string) (storage.Location, error) {
	at, err := storage.Parse(url)
	if err != nil {
		return at, usageError{err}
	}
	if strings.HasSuffix(at.Base(), ".pt") {
		at = at.Dir()
	}
	if at.Base() == "checkpoints" {
		at = at.Dir()
	}
	return at, nil
}

// publish sends the files that a command has written, if they are in the copy of
// the run folder that arg names.
func (r *remotes) publish(ctx context.Context, arg string, files []string) error {
	if !storage.IsURL(arg) || len(files) == 0 {
		return nil
	}
	at, err := runURL(arg)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // what an interrupted command has written counts, too
	there, err := r.open(ctx, at)
	if err != nil {
		return err
	}
	defer there.Close()
	folder, err := filepath.Rel(there.dir, filepath.Dir(files[0]))
	if err != nil || !filepath.IsLocal(folder) {
		return nil // -o has named another place
	}
	folder = filepath.ToSlash(folder)
	for _, file := range files {
		if err := there.Put(ctx, path.Join(folder, filepath.Base(file)), file); err != nil {
			return fmt.Errorf("what was written lies in %s, but cannot be uploaded: %w", filepath.Dir(file), err)
		}
	}
	r.log.Info("uploaded", zap.Stringer("folder", at.Join(folder)), zap.Int("files", len(files)))
	return nil
}

// isReference reports whether an argument names a run of the reference, by its
// model file.
func isReference(arg string) bool {
	if storage.IsURL(arg) {
		at, err := storage.Parse(arg)
		return err == nil && train.ReferenceStep(at.Base()) >= 0
	}
	return train.IsReference(arg)
}

// reference brings a model file of the reference, and its siblings.
func (r *remotes) reference(ctx context.Context, arg string) (string, error) {
	if !storage.IsURL(arg) {
		return arg, nil
	}
	at, err := storage.Parse(arg)
	if err != nil {
		return "", usageError{err}
	}
	there, err := r.open(ctx, at.Dir())
	if err != nil {
		return "", err
	}
	defer there.Close()
	end := fmt.Sprintf("%06d.pt", train.ReferenceStep(at.Base()))
	for _, name := range there.names {
		if strings.HasSuffix(name, end) && !strings.Contains(name, "/") {
			if err := there.Fetch(ctx, name, filepath.Join(there.dir, name)); err != nil {
				return "", err
			}
		}
	}
	return filepath.Join(there.dir, at.Base()), nil
}
