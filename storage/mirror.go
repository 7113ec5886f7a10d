package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// MirrorOptions are options of a Mirror; the zero value uploads every file.
type MirrorOptions struct {
	Ignore []string      // top-level files that are not uploaded
	Look   time.Duration // polling interval; 0: a second
	Grow   time.Duration // minimum time between two uploads of a growing file; 0: half a minute
	// Replaced returns which of the remote files to remove after those of `sent` have
	// been uploaded, the newest first; nil: none.
	Replaced func(there, sent []string) []string
	Sent     func(name string, size int64, took time.Duration) // called after each upload, unless nil
	Removed  func(name string)                                 // called after each remote removal, unless nil
}

func (o MirrorOptions) withDefaults() MirrorOptions {
	o.Look = cmp.Or(o.Look, time.Second)
	o.Grow = cmp.Or(o.Grow, 30*time.Second)
	if o.Sent == nil {
		o.Sent = func(string, int64, time.Duration) {}
	}
	if o.Removed == nil {
		o.Removed = func(string) {}
	}
	return o
}

// Mirror uploads the files of a local folder, and new and changed ones, until it is
// closed. Local files must be created and replaced by renaming, or grow. Files whose
// names begin with a dot are partial and are not uploaded. Removing a local file does
// not remove the remote file.
type Mirror struct {
	folder  *Folder
	dir     string
	options MirrorOptions
	sent    map[string]version
	fresh   []string // uploaded since remote files were last pruned, the newest first
	failure error    // the last error
	cancel  context.CancelFunc
	closing chan struct{} // closed: upload pending files, then return
	done    chan struct{} // closed: the mirror has ended
}

// version identifies a state of a file.
type version struct {
	size    int64
	changed time.Time
	again   time.Time // earliest time to upload a later state
}

// pending is a file to upload.
type pending struct {
	name string
	info os.FileInfo
}

// Mirror starts uploading dir in the background.
func (f *Folder) Mirror(dir string, o MirrorOptions) *Mirror {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Mirror{folder: f, dir: dir, options: o.withDefaults(), sent: map[string]version{},
		cancel: cancel, closing: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(m.done)
		m.run(ctx)
	}()
	return m
}

// run polls and uploads until the mirror is closed, and then until nothing is pending.
func (m *Mirror) run(ctx context.Context) {
	retry := m.folder.options.backOff()
	retry.Reset()
	closing := m.closing
	for ctx.Err() == nil {
		last := closed(m.closing)
		err := m.pass(ctx, last)
		wait := m.options.Look
		switch {
		case err == nil && last:
			return
		case err == nil:
			retry.Reset()
		case ctx.Err() == nil:
			m.failure, wait = err, retry.NextBackOff()
			m.folder.options.Failed(err, wait)
		}
		if last {
			closing = nil // a closed channel would end every wait
		}
		select {
		case <-time.After(wait):
		case <-closing:
			retry.Reset()
		case <-ctx.Done():
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Left is the error of a Mirror that could not upload some files.
type Left struct {
	Dir   string   // local folder of the files
	Names []string // names of the files
	err   error
}

// Error names the files and their local folder.
func (l *Left) Error() string {
	names := l.Names
	more := ""
	if len(names) > 5 {
		names, more = names[:5], fmt.Sprintf(" and %d more", len(l.Names)-5)
	}
	return fmt.Sprintf("not uploaded: %s%s; the missing files are in %s: %v", strings.Join(names, ", "), more, l.Dir, l.err)
}

func (l *Left) Unwrap() error { return l.err }

// Close uploads all pending files and returns. If ctx ends first, it returns a
// *Left.
func (m *Mirror) Close(ctx context.Context) error {
	close(m.closing)
	defer m.cancel()
	select {
	case <-m.done:
	case <-ctx.Done():
		m.cancel()
		<-m.done
	}
	all, err := m.due(true)
	if err == nil && (len(all) == 0 || ctx.Err() == nil) {
		return nil
	}
	left := &Left{Dir: m.dir, err: errors.Join(err, m.failure)}
	for _, p := range all {
		left.Names = append(left.Names, p.name)
	}
	return left
}

// pass uploads pending files, and then prunes.
func (m *Mirror) pass(ctx context.Context, last bool) error {
	all, err := m.due(last)
	errs := []error{err}
	var sent []string
	for _, p := range all {
		arrived, err := m.send(ctx, p)
		if _, gone := os.Lstat(m.path(p)); !errors.Is(gone, fs.ErrNotExist) { // else it was pruned locally meanwhile
			errs = append(errs, err)
		}
		if arrived {
			sent = append(sent, p.name)
		}
	}
	m.fresh = append(sent, m.fresh...)
	return errors.Join(append(errs, m.prune(ctx))...)
}

// send uploads a file, unless an earlier process has.
func (m *Mirror) send(ctx context.Context, p pending) (arrived bool, err error) {
	start := time.Now()
	if _, before := m.sent[p.name]; !before && m.there(ctx, p) {
		m.sent[p.name] = version{size: p.info.Size(), changed: p.info.ModTime()}
		return false, nil
	}
	if err := m.folder.put(ctx, p.name, m.path(p)); err != nil {
		return false, m.folder.explain(p.name, err)
	}
	took := time.Since(start)
	// A large growing file must not use all the bandwidth.
	m.sent[p.name] = version{p.info.Size(), p.info.ModTime(), time.Now().Add(max(m.options.Grow, 20*took))}
	m.options.Sent(p.name, p.info.Size(), took)
	return true, nil
}

func (m *Mirror) path(p pending) string { return filepath.Join(m.dir, filepath.FromSlash(p.name)) }

// there reports whether an earlier process has uploaded the file.
func (m *Mirror) there(ctx context.Context, p pending) bool {
	a, err := m.folder.attributes(ctx, p.name)
	if err != nil {
		return false // the upload reports the reason
	}
	same, err := m.folder.holds(ctx, p.name, m.path(p), a)
	return err == nil && same
}

// prune removes remote files that have been replaced.
func (m *Mirror) prune(ctx context.Context) error {
	if m.options.Replaced == nil || len(m.fresh) == 0 {
		return nil
	}
	objects, err := m.folder.List(ctx, "")
	if err != nil {
		return err
	}
	var there []string
	for _, o := range objects {
		there = append(there, o.Name)
	}
	var errs []error
	for _, name := range m.options.Replaced(there, m.fresh) {
		err := m.folder.Remove(ctx, name)
		errs = append(errs, err)
		if err == nil {
			m.options.Removed(name)
		}
	}
	err = errors.Join(errs...)
	if err == nil {
		m.fresh = nil
	}
	return err
}

// due returns the files to upload now, the newest first: the newest checkpoint is the
// most useful.
func (m *Mirror) due(last bool) ([]pending, error) {
	var all []pending
	err := filepath.WalkDir(m.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != m.dir {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(m.dir, path)
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !e.Type().IsRegular(), slices.Contains(m.options.Ignore, name):
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && m.isDue(filepath.ToSlash(name), info, last) {
			all = append(all, pending{filepath.ToSlash(name), info})
		}
		return err
	})
	slices.SortStableFunc(all, func(a, b pending) int { return b.info.ModTime().Compare(a.info.ModTime()) })
	return all, err
}

func (m *Mirror) isDue(name string, info os.FileInfo, last bool) bool {
	v, ok := m.sent[name]
	if !ok {
		return true
	}
	same := v.size == info.Size() && v.changed.Equal(info.ModTime())
	return !same && (last || time.Now().After(v.again))
}
