package runs

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

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/storage"
)

// Remotes downloads the checkpoints and run folders of URLs.
type Remotes struct {
	Cache string
	Log   *zap.Logger
}

// Open opens a URL and lists its files.
func (r *Remotes) Open(ctx context.Context, at storage.Location) (*remote, error) {
	cache := r.Cache
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no cache folder for the copy of %s, name one by --remote-cache: %w", at, err)
		}
		cache = filepath.Join(user, "iddpm", "remote")
	}
	f, err := storage.Open(ctx, at, storage.Options{Failed: func(err error, wait time.Duration) {
		r.Log.Warn("storage request failed: retrying", zap.Error(err), zap.Duration("in", wait.Round(time.Millisecond)))
	}})
	if err != nil {
		return nil, err
	}
	objects, err := f.List(ctx, "")
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	source := &remote{Folder: f, Dir: at.Copy(cache), log: r.Log}
	for _, o := range objects {
		source.names = append(source.names, o.Name)
	}
	return source, nil
}

// Checkpoint loads a checkpoint from a path or URL; of a run folder the newest readable
// one.
func (r *Remotes) Checkpoint(ctx context.Context, arg string) (*checkpoint.Checkpoint, error) {
	file, c, err := r.local(ctx, arg)
	if err != nil || c != nil {
		return c, err
	}
	if c, err = checkpoint.Load(file); err == nil {
		c.LogOrigin(r.Log)
	}
	return c, err
}

// visit opens a URL and downloads its file, or of a run folder the text files and what
// bring downloads. It returns the local path.
func (r *Remotes) visit(ctx context.Context, url string, bring func(*remote) error) (string, error) {
	at, err := ParseURL(url)
	if err != nil {
		return "", err
	}
	source, err := r.Open(ctx, at)
	if err != nil {
		return "", err
	}
	defer source.Close()
	if len(source.names) == 0 { // a file, or nothing
		return source.Dir, source.Fetch(ctx, "", source.Dir)
	}
	if err := source.bringTexts(ctx); err != nil {
		return "", err
	}
	return source.Dir, bring(source)
}

// local returns the local path of a checkpoint, after downloading it if the argument is a
// URL. Of a run folder at a URL it also returns the newest readable checkpoint, which it
// has to load to find out.
func (r *Remotes) local(ctx context.Context, arg string) (file string, c *checkpoint.Checkpoint, err error) {
	if !storage.IsURL(arg) {
		return arg, nil, nil
	}
	file, err = r.visit(ctx, arg, func(source *remote) (err error) {
		if c, err = source.newest(ctx); err == nil && c == nil {
			err = source.noCheckpoint()
		}
		return err
	})
	if err == nil && c != nil {
		file = c.Path
	}
	return file, c, err
}

// LocalRun downloads the run folder or file in the argument of a figure, PATH or
// NAME=PATH, and returns the argument with the local path. weights: also download the
// newest checkpoint.
func (r *Remotes) LocalRun(ctx context.Context, arg string, weights bool) (string, error) {
	name, url, named := strings.Cut(arg, "=")
	if !named || storage.IsURL(arg) {
		name, url = "", arg
	}
	if !storage.IsURL(url) {
		return arg, nil
	}
	path, err := r.visit(ctx, url, func(source *remote) (err error) {
		if weights {
			_, err = source.newest(ctx)
		}
		return err
	})
	if name != "" {
		path = name + "=" + path
	}
	return path, err
}

// Snapshots downloads the EMA snapshots of a run folder at a URL, and returns its local path.
func (r *Remotes) Snapshots(ctx context.Context, arg string) (string, error) {
	if !storage.IsURL(arg) {
		return arg, nil
	}
	return r.visit(ctx, arg, func(source *remote) error {
		return source.fetch(ctx, func(name string) bool {
			_, ok := checkpoint.SnapshotStep(name)
			return ok
		})
	})
}

// Publish uploads the files that a command has written, if they are in the local copy of
// the run folder of the URL arg.
func (r *Remotes) Publish(ctx context.Context, arg string, files []string) error {
	if !storage.IsURL(arg) || len(files) == 0 {
		return nil
	}
	at, err := URLOf(arg)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // also upload the output of an interrupted command
	target, err := r.Open(ctx, at)
	if err != nil {
		return err
	}
	defer target.Close()
	folder, err := filepath.Rel(target.Dir, filepath.Dir(files[0]))
	if err != nil || !filepath.IsLocal(folder) {
		return nil // -o has named another place
	}
	folder = filepath.ToSlash(folder)
	for _, file := range files {
		if err := target.Put(ctx, path.Join(folder, filepath.Base(file)), file); err != nil {
			return fmt.Errorf("cannot upload the results, which are in %s: %w", filepath.Dir(file), err)
		}
	}
	r.Log.Info("uploaded", zap.Stringer("folder", at.Join(folder)), zap.Int("files", len(files)))
	return nil
}

// IsReference reports whether an argument names a model file of improved-diffusion.
func IsReference(arg string) bool {
	if storage.IsURL(arg) {
		at, err := storage.Parse(arg)
		return err == nil && checkpoint.ReferenceStep(at.Base()) >= 0
	}
	return checkpoint.IsReference(arg)
}

// Reference downloads a model file of improved-diffusion and the EMA and optimizer files
// of the same step.
func (r *Remotes) Reference(ctx context.Context, arg string) (string, error) {
	if !storage.IsURL(arg) {
		return arg, nil
	}
	at, err := ParseURL(arg)
	if err != nil {
		return "", err
	}
	source, err := r.Open(ctx, at.Dir())
	if err != nil {
		return "", err
	}
	defer source.Close()
	end := fmt.Sprintf("%06d.pt", checkpoint.ReferenceStep(at.Base()))
	err = source.fetch(ctx, func(name string) bool { return strings.HasSuffix(name, end) && !strings.Contains(name, "/") })
	if err != nil {
		return "", err
	}
	return filepath.Join(source.Dir, at.Base()), nil
}

// ParseURL parses a URL. Its error is a usage error.
func ParseURL(url string) (storage.Location, error) {
	at, err := storage.Parse(url)
	if err != nil {
		return at, cli.Usage(err)
	}
	return at, nil
}

// URLOf returns the URL of the run folder that a URL belongs to.
func URLOf(url string) (storage.Location, error) {
	at, err := ParseURL(url)
	if err != nil {
		return at, err
	}
	if ext := path.Ext(at.Base()); ext == ".pt" || ext == ".safetensors" {
		at = at.Dir()
	}
	if at.Base() == checkpoint.Dir {
		at = at.Dir()
	}
	return at, nil
}
