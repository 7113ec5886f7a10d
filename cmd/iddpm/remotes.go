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
		usage: "cache local copies of s3://, gs:// and file:// URLs in `DIR`"}}
}

// remotes brings what URLs name to this machine.
type remotes struct {
	cache string
	log   *zap.Logger
}

// remotes brings what URLs name, and logs to the session's screen.
func (s *session) remotes(o remoteOptions) *remotes { return &remotes{cache: o.cache, log: s.log} }

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
	if c, err = train.LoadCheckpoint(file); err == nil {
		c.TellPrefix(r.log)
	}
	return c, err
}

// visit opens a URL and brings its file, or of a run folder the small ones and what
// bring brings. It returns where that lies on this machine.
func (r *remotes) visit(ctx context.Context, url string, bring func(*remote) error) (string, error) {
	at, err := parseURL(url)
	if err != nil {
		return "", err
	}
	there, err := r.open(ctx, at)
	if err != nil {
		return "", err
	}
	defer there.Close()
	if len(there.names) == 0 { // a file, or nothing
		return there.dir, there.Fetch(ctx, "", there.dir)
	}
	if err := there.bringTexts(ctx); err != nil {
		return "", err
	}
	return there.dir, bring(there)
}

// local returns where a checkpoint lies on this machine, after bringing it here
// if the argument is a URL. To know which one of a run folder there can be read it has
// to read it: then it returns that, too.
func (r *remotes) local(ctx context.Context, arg string) (file string, c *train.Checkpoint, err error) {
	if !storage.IsURL(arg) {
		return arg, nil, nil
	}
	file, err = r.visit(ctx, arg, func(there *remote) (err error) {
		if c, err = there.newest(ctx); err == nil && c == nil {
			err = there.noCheckpoint()
		}
		return err
	})
	if err == nil && c != nil {
		file = c.Path
	}
	return file, c, err
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
	path, err := r.visit(ctx, url, func(there *remote) (err error) {
		if weights {
			_, err = there.newest(ctx)
		}
		return err
	})
	if name != "" {
		path = name + "=" + path
	}
	return path, err
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
	at, err := parseURL(arg)
	if err != nil {
		return "", err
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

// parseURL reads a URL. One that is none is wrong use.
func parseURL(url string) (storage.Location, error) {
	at, err := storage.Parse(url)
	if err != nil {
		return at, usageError{err}
	}
	return at, nil
}

// runURL returns the URL of the run folder that a URL belongs to.
func runURL(url string) (storage.Location, error) {
	at, err := parseURL(url)
	if err != nil {
		return at, err
	}
	if strings.HasSuffix(at.Base(), ".pt") {
		at = at.Dir()
	}
	if at.Base() == "checkpoints" {
		at = at.Dir()
	}
	return at, nil
}
