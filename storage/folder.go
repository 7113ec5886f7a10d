package storage

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/renameio/v2"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Options are timeouts; the zero value suits the Internet.
type Options struct {
	Stall    time.Duration                       // idle time after which a connection is closed; 0: a minute
	Patience time.Duration                       // total time for which an operation is retried; 0: two minutes
	Wait     time.Duration                       // before the first retry; later waits are longer; 0: a second
	Failed   func(err error, wait time.Duration) // called after each failed attempt, unless nil
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&o.Stall, time.Minute}, {&o.Patience, 2 * time.Minute}, {&o.Wait, time.Second}} {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if o.Failed == nil {
		o.Failed = func(error, time.Duration) {}
	}
	return o
}

// backOff returns the waits between attempts.
func (o Options) backOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.Multiplier, b.MaxInterval = o.Wait, 2, 64*o.Wait
	return b
}

// Folder is a folder or a file at a URL. Files in it are named by their
// slash-separated path below it; the name "" is the URL's own file.
type Folder struct {
	At      Location
	bucket  *blob.Bucket
	options Options
}

// Open opens a URL. It does not check whether any file exists there.
func Open(ctx context.Context, l Location, o Options) (*Folder, error) {
	f := &Folder{At: l, options: o.withDefaults()}
	var err error
	if f.bucket, err = openBucket(ctx, l, f.options); err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", l, err)
	}
	return f, nil
}

// Close frees the connections.
func (f *Folder) Close() error { return f.bucket.Close() }

// Object is a file in a folder.
type Object struct {
	Name     string
	Size     int64
	Modified time.Time // by the clock of the storage service
}

// List returns the files whose names begin with prefix, at any depth, in the
// order of their names.
func (f *Folder) List(ctx context.Context, prefix string) ([]Object, error) {
	return attempt(ctx, f, prefix, func(ctx context.Context) ([]Object, error) {
		var all []Object
		ctx, cancel := f.limit(ctx, 0)
		defer cancel()
		below := f.key("") + "/"
		for page := f.bucket.List(&blob.ListOptions{Prefix: below + prefix}); ; {
			o, err := page.Next(ctx)
			if errors.Is(err, io.EOF) {
				return all, nil
			}
			if err != nil {
				return nil, err
			}
			all = append(all, Object{strings.TrimPrefix(o.Key, below), o.Size, o.ModTime})
		}
	})
}

// Stat returns a file. If there is none, the error is os.ErrNotExist.
func (f *Folder) Stat(ctx context.Context, name string) (Object, error) {
	return attempt(ctx, f, name, func(ctx context.Context) (Object, error) {
		a, err := f.attributes(ctx, name)
		if err != nil {
			return Object{}, err
		}
		return Object{name, a.Size, a.ModTime}, nil
	})
}

// Remove removes a file. It is not an error if the file does not exist.
func (f *Folder) Remove(ctx context.Context, name string) error {
	_, err := attempt(ctx, f, name, func(ctx context.Context) (struct{}, error) {
		ctx, cancel := f.limit(ctx, 0)
		defer cancel()
		return struct{}{}, f.bucket.Delete(ctx, f.key(name))
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// ErrDamaged is the error of a file that differs from what was uploaded.
var ErrDamaged = errors.New("it is damaged")

// Fetch downloads a file to a local path, unless it is there already. A truncated or
// damaged file is never stored under that path.
func (f *Folder) Fetch(ctx context.Context, name, path string) error {
	_, err := attempt(ctx, f, name, func(ctx context.Context) (struct{}, error) {
		a, err := f.attributes(ctx, name)
		if err != nil {
			return struct{}{}, err
		}
		if same, err := f.holds(ctx, name, path, a); err == nil && same {
			return struct{}{}, nil
		}
		return struct{}{}, f.download(ctx, name, path, a)
	})
	return err
}

func (f *Folder) download(ctx context.Context, name, path string, a *blob.Attributes) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return backoff.Permanent(err)
	}
	local, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o666))
	if err != nil {
		return backoff.Permanent(err)
	}
	defer local.Cleanup()
	sum := md5.New()
	n, err := f.read(ctx, name, a.Size, io.MultiWriter(local, sum))
	if err != nil && n == a.Size { // complete, but the stored checksum differs
		return backoff.Permanent(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	if err != nil {
		return err
	}
	if n != a.Size {
		return fmt.Errorf("only %d of %d bytes arrived", n, a.Size)
	}
	if want := a.Metadata[checksumKey]; want != "" && want != hex.EncodeToString(sum.Sum(nil)) {
		return backoff.Permanent(fmt.Errorf("%w: its %d bytes differ from those that were uploaded", ErrDamaged, n))
	}
	if err := local.CloseAtomicallyReplace(); err != nil {
		return backoff.Permanent(err)
	}
	return nil
}

// ReadRange returns at most limit bytes of a file from an offset on: none if the file is not longer
// than that. It does not verify a checksum, which is of a whole file.
func (f *Folder) ReadRange(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	o, err := f.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if limit = min(limit, o.Size-offset); limit <= 0 {
		return nil, nil
	}
	return attempt(ctx, f, name, func(ctx context.Context) ([]byte, error) {
		ctx, cancel := f.limit(ctx, limit)
		defer cancel()
		r, err := f.bucket.NewRangeReader(ctx, f.key(name), offset, limit, nil)
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(r)
		return text, errors.Join(err, r.Close())
	})
}

// read copies a file's bytes to w.
func (f *Folder) read(ctx context.Context, name string, size int64, w io.Writer) (int64, error) {
	ctx, cancel := f.limit(ctx, size)
	defer cancel()
	r, err := f.bucket.NewReader(ctx, f.key(name), nil)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(w, r)
	return n, errors.Join(err, r.Close())
}

func (f *Folder) attributes(ctx context.Context, name string) (*blob.Attributes, error) {
	ctx, cancel := f.limit(ctx, 0)
	defer cancel()
	return f.bucket.Attributes(ctx, f.key(name))
}

func (f *Folder) key(name string) string { return f.At.Join(name).path }

// limit bounds the time of one attempt, since some drivers retry for ever. It allows for
// the time that size bytes need on a slow connection.
func (f *Folder) limit(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	const slowest = 64 << 10 // bytes a second
	return context.WithTimeout(ctx, 2*f.options.Stall+time.Duration(size/slowest)*time.Second)
}

// attempt runs an operation and retries it while it fails with a temporary error.
func attempt[T any](ctx context.Context, f *Folder, name string, once func(context.Context) (T, error)) (T, error) {
	result, err := backoff.Retry(ctx, func() (T, error) {
		v, err := once(ctx)
		if hopeless(err) {
			return v, backoff.Permanent(err)
		}
		return v, err
	}, backoff.WithBackOff(f.options.backOff()), backoff.WithMaxElapsedTime(f.options.Patience), backoff.WithNotify(func(err error, wait time.Duration) {
		f.options.Failed(f.explain(name, err), wait)
	}))
	return result, f.explain(name, err)
}

// hopeless reports whether an error is permanent, so that a retry is useless.
func hopeless(err error) bool {
	switch gcerrors.Code(err) {
	case gcerrors.NotFound, gcerrors.PermissionDenied, gcerrors.InvalidArgument, gcerrors.Unimplemented:
		return true
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// explain adds the URL and, if known, a hint to an error.
func (f *Folder) explain(name string, err error) error {
	if err == nil {
		return nil
	}
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		err = permanent.Unwrap()
	}
	at := f.At.Join(name)
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return fmt.Errorf("%s: no such file, or no such bucket: %w", at, fs.ErrNotExist)
	case gcerrors.PermissionDenied:
		return fmt.Errorf("%s: access denied: check the credentials (for S3 AWS_PROFILE or AWS_ACCESS_KEY_ID, for Google GOOGLE_APPLICATION_CREDENTIALS) and the bucket's permissions: %w", at, err)
	}
	return fmt.Errorf("%s: %w", at, err)
}
